"""ImageNet, or any data set with the same folders."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes
from torchvision.transforms import v2

from ...common import checks
from ...common.messages import one_line
from ...errors import UserError
from .base import ImageData
from .files import decode, is_whole, read_image
from .preprocessing import resized_and_cropped
from .views import EvalImages, KeyedImages, TrainImages, Transform


class ImageNet(ImageData):
    """Image files in folders root/train/CLASS and root/val/CLASS.

    root/val, on which papers report, is the test set. Validation images are held out of root/train. Training images are
    resized, cropped and mirrored at random. Other images are resized to a shorter side of image_size * 256 / 224 and
    cropped at the center.

    Args:
        root: Folder that contains train and val.
        skip_damaged: Whether to open every file at the start and leave out damaged images with a warning. Otherwise,
            the first damaged image ends the run.
        common: Arguments of `ImageData`.
    """

    def __init__(self, *, root: str, skip_damaged: bool, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        self.skip_damaged = skip_damaged
        self.check_channels()

    def check_channels(self) -> None:
        checks.require(self.channels == 3, "dataset.channels", self.channels, "3, as in the data")

    def prepare_data(self) -> None:
        """Raise `UserError` if a folder is missing."""
        self._folder("train")
        self._folder(self.test_name)

    @property
    def test_name(self) -> str:
        """Name of the folder of the test set."""
        return "val"

    def load(self, train: bool) -> ImageFolder:
        return self.read("train" if train else self.test_name)

    def read(self, name: str) -> ImageFolder:
        """Return the images in a folder of `root`, which must have the classes of the training set."""
        folder = self._folder(name)
        damaged: list[str] = []

        def wanted(path: str) -> bool:
            if not path.lower().endswith(IMG_EXTENSIONS):
                return False
            if not self.skip_damaged or is_whole(path):
                return True
            damaged.append(path)
            return False

        loader = decode if self.channels == 3 else partial(read_image, channels=self.channels)
        try:
            images = ImageFolder(folder, loader=loader, is_valid_file=wanted)
        except FileNotFoundError as error:
            raise UserError(f"{folder} must hold one folder of images per class: {one_line(error)}") from error
        if damaged:
            warnings.warn(f"left out damaged images of {folder}: {', '.join(damaged)}", stacklevel=2)
        if name != "train" and images.classes != find_classes(self._folder("train"))[0]:
            raise UserError(f"{folder} and {self._folder('train')} must hold the same classes (folders)")
        return images

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        if not folder.is_dir():
            expected = f"train and {self.test_name}, each with one folder per class"
            raise UserError(f"no folder {folder}: dataset.root must hold {expected}")
        return folder

    def train_view(self, images: ImageFolder, indices: Tensor) -> TrainImages:
        view = KeyedImages if self.mixes else TrainImages
        return view(images, indices, v2.Compose([self.train_transform(), *self.more_transforms()]), self.seed)

    def eval_view(self, images: ImageFolder, indices: Tensor) -> EvalImages:
        return EvalImages(images, indices, self.eval_transform())

    def train_transform(self) -> Transform:
        """Return the random crop and flip of a training image, uint8 (C, H, W)."""
        return v2.Compose([v2.RandomResizedCrop(self.image_size), v2.RandomHorizontalFlip()])

    def eval_transform(self) -> Transform:
        """Return the deterministic transform of other images, uint8 (C, H, W)."""
        return resized_and_cropped(self.eval_resize, self.image_size)

    @property
    def eval_resize(self) -> int:
        return self.image_size * 256 // 224
