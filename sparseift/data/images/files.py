"""Files of images."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from ...common.checks import require
from ...common.messages import one_line
from ...errors import UserError

END_OF_JPEG = b"\xff\xd9"

MODES = {1: "L", 3: "RGB"}
"""What Pillow calls images of this number of channels."""


class DamagedImage(UserError):
    """An image file that cannot be decoded."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker passes a traceback as the message; the last line has the original message.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


def decode(path: str) -> Tensor:
    """Return the RGB image in a file, uint8 (3, H, W), or raise `DamagedImage`."""
    try:
        return _decode_jpeg(path)
    except (RuntimeError, ImportError):  # another format, or damaged
        return _decode_with_pillow(path)


def _decode_jpeg(path: str) -> Tensor:
    """Decode the same pixels as Pillow in two thirds of the time. Later versions of torchvision may lack this."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    return decode_jpeg(read_file(path), ImageReadMode.RGB)


def _decode_with_pillow(path: str) -> Tensor:
    try:
        return _pixels(path, "RGB")
    except Exception as error:  # Pillow raises errors of many types for damaged files
        raise DamagedImage(
            f"{path} can't be decoded ({one_line(error)}); replace it, or leave such images out with "
            "dataset.skip_damaged=true"
        ) from error


def _pixels(path: str | Path, mode: str) -> Tensor:
    with Image.open(path) as file:
        return v2.functional.pil_to_tensor(file.convert(mode))


def read_image(path: str | Path, channels: int) -> Tensor:
    """Return the image in a file, uint8 (C, H, W), in grey for one channel and in RGB for three.

    Raises:
        UserError: It cannot be read.
    """
    require(channels in MODES, "dataset.channels", channels, f"{' or '.join(map(str, MODES))} for files of images")
    try:
        return _pixels(path, MODES[channels])
    except OSError as error:
        reason = error.strerror or one_line(error).partition(" '")[0]
        raise UserError(f"{path} can't be read as an image: {reason}") from error
    except Exception as error:
        raise UserError(f"{path} can't be read as an image: {one_line(error)}") from error


def is_whole(path: str) -> bool:
    """Return whether an image file can be decoded. A JPEG file with an end marker is assumed to be intact."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(END_OF_JPEG), 2)
            if path.lower().endswith((".jpg", ".jpeg")) and file.read() == END_OF_JPEG:
                return True
        decode(path)
    except (OSError, DamagedImage):
        return False
    return True
