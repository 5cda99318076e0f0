"""ImageNet, or any data set with the same layout of folders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes
from torchvision.transforms import v2

from ...common import checks
from ...common.messages import one_line
from ...errors import UserError
from .base import ImageData
from .views import EvalView, TrainView, Transform

END_OF_JPEG = b"\xff\xd9"


class DamagedImage(UserError):
    """An image file that can't be decoded."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker passes its whole traceback as the message; its last line is the original message.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class ImageNet(ImageData):
    """Folders root/train/CLASS and root/val/CLASS of image files. root/val is the test set.

    Validation images are held out of root/train: root/val, which papers report on, is read for testing only. Training
    images are randomly resized, cropped and mirrored. Others are resized to a shorter side of 256 for `image_size` 224,
    in proportion for other sizes, and cropped at the center. Transforms work on uint8 tensors.

    Args:
        root: The folder that holds train and val.
        skip_damaged: Leave out damaged images with a warning. Otherwise the first damaged image ends the run. This
            opens every file when the data is loaded.
        common: Arguments of `ImageData`.
    """

    def __init__(self, *, root: str, skip_damaged: bool, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        self.skip_damaged = skip_damaged
        checks.require(self.channels == 3, "dataset.channels", self.channels, "3, as in the data")

    def prepare_data(self) -> None:
        """Raise `UserError` if a folder is missing."""
        self._folder("train")
        self._folder("val")

    def load(self, train: bool) -> ImageFolder:
        folder = self._folder("train" if train else "val")
        damaged: list[str] = []

        def wanted(path: str) -> bool:
            if not path.lower().endswith(IMG_EXTENSIONS):
                return False
            if not self.skip_damaged or is_whole(path):
                return True
            damaged.append(path)
            return False

        try:
            images = ImageFolder(folder, loader=decode, is_valid_file=wanted)
        except FileNotFoundError as error:
            raise UserError(f"{folder} must hold one folder of images per class: {one_line(error)}") from error
        if damaged:
            warnings.warn(f"left out damaged images of {folder}: {', '.join(damaged)}", stacklevel=2)
        if not train and images.classes != find_classes(self._folder("train"))[0]:
            raise UserError(f"{folder} and {self._folder('train')} must hold the same classes (folders)")
        return images

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: dataset.root must hold train and val, each with one folder per class")
        return folder

    def train_view(self, images: ImageFolder, indices: Tensor) -> TrainView:
        return TrainView(images, indices, self.train_transform(), self.seed)

    def eval_view(self, images: ImageFolder, indices: Tensor) -> EvalView:
        return EvalView(images, indices, self.eval_transform())

    def train_transform(self) -> Transform:
        """Return the random transform from an image of `load` to uint8 (C, H, W)."""
        return v2.Compose([v2.RandomResizedCrop(self.image_size), v2.RandomHorizontalFlip()])

    def eval_transform(self) -> Transform:
        """Return the deterministic transform from an image of `load` to uint8 (C, H, W)."""
        return v2.Compose([v2.Resize(self.image_size * 256 // 224), v2.CenterCrop(self.image_size)])


def decode(path: str) -> Tensor:
    """Return an image file of 8 bits a channel, grey or CMYK too, as uint8 (3, H, W). Raises `DamagedImage`."""
    try:
        return _decode_jpeg(path)
    except (RuntimeError, ImportError):  # another format, or damaged: Pillow decodes it, or says why not
        return _decode_with_pillow(path)


def _decode_jpeg(path: str) -> Tensor:
    """The pixels of Pillow in two thirds of its time. Deprecated in torchvision 0.29, so it may be missing."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    return decode_jpeg(read_file(path), ImageReadMode.RGB)


def _decode_with_pillow(path: str) -> Tensor:
    try:
        with Image.open(path) as file:
            return v2.functional.pil_to_tensor(file.convert("RGB"))
    except Exception as error:  # Pillow raises errors of many kinds on broken files
        raise DamagedImage(
            f"{path} can't be decoded ({one_line(error)}); replace it, or leave such images out with "
            "dataset.skip_damaged=true"
        ) from error


def is_whole(path: str) -> bool:
    """Whether an image file can be decoded. A JPEG with its end marker is assumed to be complete."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(END_OF_JPEG), 2)
            if path.lower().endswith((".jpg", ".jpeg")) and file.read() == END_OF_JPEG:
                return True
        decode(path)
    except (OSError, DamagedImage):
        return False
    return True
