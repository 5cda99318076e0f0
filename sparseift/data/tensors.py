"""Small sets that live in memory as one uint8 tensor."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

from sparseift.data.base import ImageData
from sparseift.data.views import Transform
from sparseift.errors import UserError


class TensorImages(Dataset):
    """(uint8 (C, H, W), class) by index, of uint8 (N, C, H, W) and int64 (N,)."""

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images = images
        self.targets = targets
        self.classes = range(int(targets.max()) + 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.targets[index])


class TensorImageData(ImageData):
    """Data module of a set that fits in memory; a data set says only what its `tensors` are.

    Args:
        crop_padding: zeros around a training image, of which an image of the old size is cropped at random.
        flip: mirror every other training image.
        common: the arguments of `ImageData`. `channels=3` repeats a grey image three times.
    """

    def __init__(self, *, crop_padding: int, flip: bool, **common: Any) -> None:
        super().__init__(**common)
        self.crop_padding = crop_padding
        self.flip = flip

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

    def train_transform(self) -> Transform:
        return v2.Compose(
            [
                v2.RandomCrop(self.image_size, padding=self.crop_padding),
                v2.RandomHorizontalFlip(0.5 if self.flip else 0.0),
            ]
        )

    def eval_transform(self) -> Transform:
        return nn.Identity()
