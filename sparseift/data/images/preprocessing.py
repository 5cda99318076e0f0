"""What turns an image into the input of a trained network. Needs torchvision only where an image is resized or read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...common.checks import require
from ...common.extras import without_suite
from .augment import Normalize

if TYPE_CHECKING:
    from torchvision.transforms import v2


def resized_and_cropped(resize: int, size: int) -> v2.Transform:
    """Return a transform of uint8 images (..., H, W): resize the shorter side, and crop a square at the center."""
    from torchvision.transforms import v2

    return v2.Compose([v2.Resize(resize), v2.CenterCrop(size)])


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resizes, crops and normalizes images as the run did for its test.

    Args:
        resize: Length of the shorter side of a resized image.
        size: Side of the square that is cropped at the center.
        channels: Channels of the input; 3 repeats the channel of a grey image.
        mean: Mean of each channel, of images in [0, 1].
        std: Standard deviation of each channel.
        classes: Names of the classes, in the order of the outputs of the network; None if they are not known.
    """

    resize: int
    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] | None = None

    @classmethod
    def restored(cls, folder: Path, mean: Sequence[float], std: Sequence[float], **options: Any) -> ImagePreprocessing:
        """Return what a data module has described in results.json of a run folder."""
        classes = options.pop("classes", None)
        return cls(mean=tuple(mean), std=tuple(std), classes=classes and tuple(classes), **options)

    def __call__(self, image: Tensor | str | Path) -> Tensor:
        """Return the input of the network, float32 (1, C, size, size).

        Args:
            image: The path of a file, or a uint8 tensor (C, H, W).

        Raises:
            UserError: The file cannot be read, the tensor is no image, or torchvision is needed and not installed.
        """
        try:
            return self._of_pixels(image if isinstance(image, Tensor) else self._read(image))
        except ModuleNotFoundError as error:
            raise without_suite("to read or resize images, sparseift", "torchvision") from error

    def _read(self, path: str | Path) -> Tensor:
        from .files import read_image

        return read_image(path, self.channels)

    def _of_pixels(self, pixels: Tensor) -> Tensor:
        fits = pixels.dim() == 3 and pixels.shape[0] in (1, self.channels) and str(pixels.dtype) == "torch.uint8"
        found = f"{pixels.dtype} of shape {tuple(pixels.shape)}"
        require(fits, "image", found, f"torch.uint8 of shape ({self.channels}, H, W)")
        ready = pixels.shape[1:] == (self.size, self.size) and self.resize == self.size
        cropped = pixels if ready else resized_and_cropped(self.resize, self.size)(pixels)
        return Normalize(self.mean, self.std)(cropped.expand(self.channels, -1, -1)[None])

    def name(self, index: int) -> str:
        """Return the name of a class, or its number."""
        return self.classes[index] if self.classes else str(index)

    def options(self) -> dict[str, Any]:
        """Return the options of a data set that prepare its images in this way."""
        return {"mean": list(self.mean), "std": list(self.std)}
