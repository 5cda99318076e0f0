"""Image files of the user, in one folder per class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ...common import checks
from .files import MODES
from .imagenet import ImageNet
from .views import Transform


class ImageFolders(ImageNet):
    """Image files of any size in root/train/CLASS and root/test/CLASS, and root/val/CLASS, if there is such a folder.

    Without root/val, `val_size` images of root/train are held out for validation. Without root/test, root/val is the
    test set, as for ImageNet.

    Args:
        crop_scale: Smallest area of a random crop of a training image, as a fraction of the image, in (0, 1].
        flip: Whether to mirror half of the training images.
        common: Arguments of `ImageNet`. Images are grey with `channels=1`.
    """

    def __init__(self, *, crop_scale: float, flip: bool, **common: Any) -> None:
        super().__init__(**common)
        self.crop_scale = checks.number("dataset.crop_scale", crop_scale, 0, 1, open_at="(")
        self.flip = checks.boolean("dataset.flip", flip)
        self._counts = 0, 0

    def check_channels(self) -> None:
        checks.require(self.channels in MODES, "dataset.channels", self.channels, "1 for grey images, or 3")

    @property
    def test_name(self) -> str:
        return "val" if (self.root / "val").is_dir() and not (self.root / "test").is_dir() else "test"

    def load(self, train: bool) -> ImageFolder:
        images = super().load(train)
        if train:
            validation = self.read("val").samples if self._has_val else []
            self._counts = len(images), len(validation)
            images.samples = images.imgs = [*images.samples, *validation]
            images.targets = [target for _, target in images.samples]
        return images

    @property
    def _has_val(self) -> bool:
        return self.test_name != "val" and (self.root / "val").is_dir()

    def split(self, images: ImageFolder) -> tuple[Tensor, Tensor]:
        if not self._has_val:
            return super().split(images)
        first, more = self._counts
        return torch.arange(first), torch.arange(first, first + more)

    def train_transform(self) -> Transform:
        crop = v2.RandomResizedCrop(self.image_size, scale=(self.crop_scale, 1.0))
        return v2.Compose([crop, *([v2.RandomHorizontalFlip()] if self.flip else [])])
