"""Synthetic images with learnable classes, for tests and benchmarks."""

from typing import Any

import torch
from torch import Tensor, nn

from ...common import checks
from ...common.seeds import stable_seed
from .tensors import TensorImageData

COARSE = 4  # side of a pattern in pixels before enlargement


class Synthetic(TensorImageData):
    """Every class is a coarse random pattern, and every image is the pattern of its class with noise.

    Args:
        train_images: Number of training images, validation images included.
        test_images: Number of test images.
        common: Arguments of `TensorImageData`. `split_seed` also seeds the images.
    """

    def __init__(self, *, train_images: int, test_images: int, **common: Any) -> None:
        super().__init__(**common)
        self.train_images = checks.integer("dataset.train_images", train_images, 1)
        self.test_images = checks.integer("dataset.test_images", test_images, 1)

    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.split_seed)
        coarse = torch.rand(self.num_classes, self.channels, COARSE, COARSE, generator=generator)
        patterns = nn.functional.interpolate(coarse * 191, size=self.image_size).to(torch.uint8)

        generator.manual_seed(stable_seed(self.split_seed, "train" if train else "test"))
        targets = torch.arange(self.train_images if train else self.test_images) % self.num_classes
        shape = len(targets), self.channels, self.image_size, self.image_size
        noise = torch.randint(0, 64, shape, dtype=torch.uint8, generator=generator)
        return patterns[targets] + noise, targets
