"""ImageNet, or any two folders of JPEGs laid out like it."""

from pathlib import Path
from typing import Any

from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import find_classes
from torchvision.transforms import v2

from sparseift.data.base import ImageData
from sparseift.data.views import Transform
from sparseift.errors import UserError


class ImageNet(ImageData):
    """Folders root/train/CLASS and root/val/CLASS of image files; root/val is the test set.

    Validation images are held out of root/train, as for every set here: the images that papers report on are
    read in the end only. Transforms (REFERENCE 5.2) at 224 pixels: a random resized crop and a flip; else the
    centre of an image whose shorter side is 256, and in that ratio at other sizes.

    Args:
        root: the folder that holds train and val.
        common: the arguments of `ImageData`.
    """

    def __init__(self, *, root: str, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        if self.channels != 3:
            raise UserError(f"dataset.channels={self.channels} does not fit the data: dataset.channels=3")

    def load(self, train: bool) -> ImageFolder:
        folder = self._folder("train" if train else "val")
        try:
            images = ImageFolder(folder)
        except FileNotFoundError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{folder} must hold one folder of images per class: {reason}") from error
        if not train and images.classes != find_classes(self._folder("train"))[0]:
            raise UserError(f"{folder} and {self._folder('train')} must hold the same classes (folders)")
        return images

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: dataset.root must hold train and val, each with one folder per class")
        return folder

    def train_transform(self) -> Transform:
        crop = v2.RandomResizedCrop(self.image_size, interpolation=v2.InterpolationMode.BILINEAR)
        return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.PILToTensor()])

    def eval_transform(self) -> Transform:
        resize = v2.Resize(self.image_size * 256 // 224, interpolation=v2.InterpolationMode.BILINEAR)
        return v2.Compose([resize, v2.CenterCrop(self.image_size), v2.PILToTensor()])
