"""Small data sets: one uint8 tensor in memory, from which whole batches are taken and augmented."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...common import checks
from .augment import Augment, keys_of
from .base import ImageData


class TensorImages:
    """uint8 images (N, C, H, W) with their classes, int64 (N,)."""

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images = images
        self.targets = targets
        self.classes = range(int(targets.max()) + 1)

    def __len__(self) -> int:
        return len(self.images)


class _Batches(Dataset):
    """Batches of the images at `indices`: images, uint8 (B, C, H, W), and classes (B,)."""

    def __init__(self, images: TensorImages, indices: Tensor) -> None:
        self.images = images
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def _batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.images.images.index_select(0, indices), self.images.targets[indices]


class EvalBatches(_Batches):
    """Batches by positions."""

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, ...]:
        return self._batch(self.indices[torch.tensor(positions)])


class TrainBatches(_Batches):
    """Batches by (epoch, positions), with a key of each image (B,) for its augmentation.

    A key depends on (seed, epoch, index of the image) alone.
    """

    def __init__(self, images: TensorImages, indices: Tensor, seed: int) -> None:
        super().__init__(images, indices)
        self.seed = seed

    def __getitems__(self, places: tuple[int, Tensor]) -> tuple[Tensor, ...]:
        epoch, positions = places
        indices = self.indices[positions]
        return *self._batch(indices), keys_of(indices, self.seed, epoch)


def as_it_is(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return batch


class TensorImageData(ImageData):
    """Data module of a data set that fits in memory. A data set defines its `tensors`.

    Args:
        crop_padding: Zeros on each side of a training image before an image of the original size is cropped at random.
        flip: Mirror a training image with probability 1/2.
        cutout: Side of a square of every training image that is set to the mean; 0 for none.
        common: Arguments of `ImageData`. `channels=3` repeats a grey image three times.
    """

    collate = staticmethod(as_it_is)

    def __init__(self, *, crop_padding: int, flip: bool, cutout: int, **common: Any) -> None:
        super().__init__(**common)
        checks.integer("dataset.crop_padding", crop_padding, 0, self.image_size)
        checks.integer("dataset.cutout", cutout, 0, self.image_size)
        checks.boolean("dataset.flip", flip)
        self.augment = Augment(self.normalize, crop_padding, flip, cutout)

    @abstractmethod
    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 (N, C, H, W), and classes, int64 (N,), of the training or the test set."""

    def load(self, train: bool) -> TensorImages:
        images, targets = self.tensors(train)
        _, channels, *size = images.shape
        fits = size == [self.image_size, self.image_size]
        checks.require(fits, "dataset.image_size", self.image_size, f"{size[0]}, as in the data")
        fits = channels in (1, self.channels)
        checks.require(fits, "dataset.channels", self.channels, f"{channels}, as in the data")
        return TensorImages(images.expand(-1, self.channels, -1, -1), targets)

    def train_view(self, images: TensorImages, indices: Tensor) -> TrainBatches:
        return TrainBatches(images, indices, self.seed)

    def eval_view(self, images: TensorImages, indices: Tensor) -> EvalBatches:
        return EvalBatches(images, indices)

    def finish(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        return self.normalize(images) if keys is None else self.augment(images, keys)
