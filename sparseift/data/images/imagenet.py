"""ImageNet, or any two folders of images laid out like it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes
from torchvision.transforms import v2

from ...errors import UserError
from .base import ImageData
from .views import EvalView, TrainView, Transform

END_OF_JPEG = b"\xff\xd9"


class DamagedImage(UserError):
    """An image file that can't be decoded."""

    def __init__(self, message: str) -> None:
        # A worker of a DataLoader hands on its whole traceback as the message; the last line is what was said.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class ImageNet(ImageData):
    """Folders root/train/CLASS and root/val/CLASS of image files; root/val is the test set.

    Validation images are held out of root/train, as for every set here: the images that papers report on are
    read in the end only. Transforms at 224 pixels: a random resized crop and a flip; else the
    centre of an image whose shorter side is 256, and in that ratio at other sizes. They work on uint8 tensors.

    Args:
        root: the folder that holds train and val.
        skip_damaged: leave out images that are cut short, and say which; otherwise the first one that is met ends the
            run. This looks into every file when the images are first asked for.
        common: the arguments of `ImageData`.
    """

    def __init__(self, *, root: str, skip_damaged: bool, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        self.skip_damaged = skip_damaged
        if self.channels != 3:
            raise UserError(f"dataset.channels={self.channels} does not fit the data: dataset.channels=3")

    def prepare_data(self) -> None:
        """UserError where a folder is missing."""
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
            reason = " ".join(str(error).split())
            raise UserError(f"{folder} must hold one folder of images per class: {reason}") from error
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
        """Image of `load` -> uint8 (C, H, W), at random."""
        return v2.Compose([v2.RandomResizedCrop(self.image_size), v2.RandomHorizontalFlip()])

    def eval_transform(self) -> Transform:
        """Image of `load` -> uint8 (C, H, W)."""
        return v2.Compose([v2.Resize(self.image_size * 256 // 224), v2.CenterCrop(self.image_size)])


def decode(path: str) -> Tensor:
    """An image file of 8 bits a channel, grey and CMYK ones too, as uint8 (3, H, W). Raises DamagedImage."""
    try:
        return _decode_jpeg(path)
    except (RuntimeError, ImportError):  # another format, or damaged: Pillow knows them all, and says what is wrong
        return _decode_with_pillow(path)


def _decode_jpeg(path: str) -> Tensor:
    """The pixels that Pillow gives, in two thirds of the time. Deprecated in torchvision 0.29, so it may be missing."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    return decode_jpeg(read_file(path), ImageReadMode.RGB)


def _decode_with_pillow(path: str) -> Tensor:
    try:
        with Image.open(path) as file:
            return v2.functional.pil_to_tensor(file.convert("RGB"))
    except Exception as error:  # Pillow raises errors of many kinds on broken files
        raise DamagedImage(
            f"{path} can't be decoded ({' '.join(str(error).split())}): replace it, or leave such images out with "
            "dataset.skip_damaged=true"
        ) from error


def is_whole(path: str) -> bool:
    """Whether an image file can be decoded. A JPEG that ends as it should is taken to be whole, unread."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(END_OF_JPEG), 2)
            if path.lower().endswith((".jpg", ".jpeg")) and file.read() == END_OF_JPEG:
                return True
        decode(path)
    except (OSError, DamagedImage):
        return False
    return True
