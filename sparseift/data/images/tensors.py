"""Small sets that live in memory as one uint8 tensor, of which batches are taken and augmented whole."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import UserError
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


class EvalBatches(Dataset):
    """Batches of the images at `indices`: (uint8 (B, C, H, W), classes (B,)) by positions."""

    def __init__(self, images: TensorImages, indices: Tensor) -> None:
        self.images = images
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, ...]:
        return self._batch(self.indices[torch.tensor(positions)])

    def _batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.images.images.index_select(0, indices), self.images.targets[indices]


class TrainBatches(EvalBatches):
    """The same by (epoch, positions), and with the keys (B,) to augment them by, which depend on (seed, epoch, index of
    the image) alone."""

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
    """Data module of a set that fits in memory; a data set says only what its `tensors` are.

    Args:
        crop_padding: zeros around a training image, of which an image of the old size is cropped at random.
        flip: mirror every other training image.
        cutout: side of a square of every training image that is set to the mean; 0 for none.
        common: the arguments of `ImageData`. `channels=3` repeats a grey image three times.
    """

    collate = staticmethod(as_it_is)

    def __init__(self, *, crop_padding: int, flip: bool, cutout: int, **common: Any) -> None:
        super().__init__(**common)
        for name, value, most in ("crop_padding", crop_padding, self.image_size), ("cutout", cutout, self.image_size):
            if not isinstance(value, int) or not 0 <= value <= most:
                raise UserError(f"dataset.{name}={value}: must be a whole number from 0 to {most}")
        if not isinstance(flip, bool):
            raise UserError(f"dataset.flip={flip}: must be true or false")
        self.augment = Augment(self.normalize, crop_padding, flip, cutout)

    @abstractmethod
    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        """uint8 (N, C, H, W) and int64 (N,) of the training or the test set."""

    def load(self, train: bool) -> TensorImages:
        images, targets = self.tensors(train)
        _, channels, *size = images.shape
        if size != [self.image_size, self.image_size]:
            raise UserError(f"dataset.image_size={self.image_size} does not fit the data: dataset.image_size={size[0]}")
        if channels != self.channels and channels != 1:
            raise UserError(f"dataset.channels={self.channels} does not fit the data: dataset.channels={channels}")
        return TensorImages(images.expand(-1, self.channels, -1, -1), targets)

    def train_view(self, images: TensorImages, indices: Tensor) -> TrainBatches:
        return TrainBatches(images, indices, self.seed)

    def eval_view(self, images: TensorImages, indices: Tensor) -> EvalBatches:
        return EvalBatches(images, indices)

    def finish(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        return self.normalize(images) if keys is None else self.augment(images, keys)
