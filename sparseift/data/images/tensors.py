"""Data sets in memory, whose images are read and augmented in whole batches."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from ...common import checks
from ..base import EvalView
from .augment import Augment, keys_of
from .base import ImageData
from .views import Transform, transformed


class TensorImages:
    """uint8 images (N, C, H, W) with their classes, int64 (N,)."""

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images = images
        self.targets = targets
        self.classes = range(int(targets.max()) + 1 if len(targets) else 0)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images, (B, C, H, W), and the classes, (B,), at `indices`."""
        return self.images.index_select(0, indices), self.targets[indices]


class EvalBatches(EvalView):
    """Batches of images, uint8 (B, C, H, W), and classes (B,), by positions in `indices`."""

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, ...]:
        return self.samples.batch(self.indices[torch.tensor(positions)])


class TrainBatches(EvalView):
    """Batches of images, classes and keys of the augmentation (B,), by (epoch, positions in `indices`).

    Args:
        transform: A random transform of each image before those on the device; None for none.
    """

    def __init__(self, images: TensorImages, indices: Tensor, seed: int, transform: Transform | None = None) -> None:
        super().__init__(images, indices)
        self.seed = seed
        self.transform = transform

    def __getitems__(self, batch: tuple[int, Tensor]) -> tuple[Tensor, ...]:
        epoch, positions = batch
        indices = self.indices[positions]
        images, targets = self.samples.batch(indices)
        if self.transform:
            each = zip(images, indices.tolist(), strict=True)
            images = torch.stack([transformed(image, self.transform, self.seed, epoch, i) for image, i in each])
        return images, targets, keys_of(indices, self.seed, epoch)


def collated(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the batch, which the view has collated."""
    return batch


class TensorImageData(ImageData):
    """The base of data sets that fit in memory. A subclass defines `tensors`.

    Args:
        crop_padding: Width of the zero padding of a training image before a random crop of the original size.
        flip: Whether to mirror a training image with probability 1/2.
        cutout: Side of a square in each training image that is set to the mean; 0 for none.
        common: Arguments of `ImageData`. `channels=3` repeats the channel of a grey image.
    """

    collate = staticmethod(collated)

    names: Sequence[str] | None = None
    """Names of the classes, if they have names besides their numbers."""

    def __init__(self, *, crop_padding: int, flip: bool, cutout: int, **common: Any) -> None:
        super().__init__(**common)
        checks.integer("dataset.crop_padding", crop_padding, 0, self.image_size)
        checks.integer("dataset.cutout", cutout, 0, self.image_size)
        checks.boolean("dataset.flip", flip)
        self.augment = Augment(self.normalize, crop_padding, flip, cutout)

    @abstractmethod
    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 (N, C, H, W), and the classes, int64 (N,), of the training or the test set."""

    def load(self, train: bool) -> TensorImages:
        images, targets = self.tensors(train)
        _, channels, *size = images.shape
        fits = size == [self.image_size, self.image_size]
        checks.require(fits, "dataset.image_size", self.image_size, f"{size[0]}, as in the data")
        fits = channels in (1, self.channels)
        checks.require(fits, "dataset.channels", self.channels, f"{channels}, as in the data")
        return TensorImages(images.expand(-1, self.channels, -1, -1), targets)

    def class_names(self) -> list[str] | None:
        return list(self.names) if self.names else super().class_names()

    def train_view(self, images: TensorImages, indices: Tensor) -> TrainBatches:
        transforms = self.more_transforms()
        return TrainBatches(images, indices, self.seed, v2.Compose(transforms) if transforms else None)

    def eval_view(self, images: TensorImages, indices: Tensor) -> EvalBatches:
        return EvalBatches(images, indices)

    def finish(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        return self.normalize(images) if keys is None else self.augment(images, keys)
