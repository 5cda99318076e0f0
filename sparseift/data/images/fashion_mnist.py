"""Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist), read from its four idx files."""

import gzip
import math
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from ...errors import UserError
from ..download import download_into
from .tensors import TensorImageData


class FashionMnist(TensorImageData):
    """60,000 + 10,000 grey images of 28 x 28 pixels in 10 classes of clothing.

    Args:
        root: Folder of the idx files, gzipped or not, or the folder that contains FashionMNIST/raw of torchvision.
        download: Whether to download the files if they are missing.
        common: Arguments of `TensorImageData`.
    """

    names = FashionMNIST.classes

    def __init__(self, *, root: str, download: bool, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        self.download = download

    def prepare_data(self) -> None:
        """Download missing files if `download` is true. Raise `UserError` if a file is missing afterwards."""
        names = (*_names(train=True), *_names(train=False))
        if self.download and not all(map(self._find, names)):
            fetch = partial(FashionMNIST, str(self.root), download=True)
            download_into(self.root, "Fashion-MNIST", fetch, "put its four idx files there")
        for name in names:
            self._path(name)

    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        images, targets = (read_idx(self._path(name)) for name in _names(train))
        if images.ndim != 3 or targets.shape != images.shape[:1]:
            raise UserError(
                f"{self._path(_names(train)[0])} has shape {tuple(images.shape)}, its labels have "
                f"{tuple(targets.shape)}; expected (N, height, width) and (N,)"
            )
        return images.unsqueeze(1), targets.long()

    def _find(self, name: str) -> Path | None:
        folders = self.root, self.root / "FashionMNIST" / "raw"
        paths = (folder / (name + suffix) for folder in folders for suffix in ("", ".gz"))
        return next((path for path in paths if path.is_file()), None)

    def _path(self, name: str) -> Path:
        path = self._find(name)
        if path is None:
            raise UserError(
                f"no {name}[.gz] in {self.root} or its FashionMNIST/raw; set dataset.root to the folder of the idx "
                "files (Debian's package dataset-fashion-mnist puts them in /usr/share/datasets/fashion-mnist), or set "
                "dataset.download=true"
            )
        return path


def _names(train: bool) -> tuple[str, str]:
    part = "train" if train else "t10k"
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def read_idx(path: Path) -> Tensor:
    """Return the uint8 tensor in an idx file (http://yann.lecun.com/exdb/mnist), which is gzipped if it ends in .gz.

    Layout: two zero bytes, the type (8 for unsigned bytes), the number of dimensions, each dimension as a big-endian
    32-bit integer, and the values with the last dimension fastest.

    Raises:
        UserError: The file is not an idx file of unsigned bytes, or is truncated.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); download it again") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise UserError(f"{path} is not an idx file of unsigned bytes: it starts with {content[:4].hex() or 'nothing'}")
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    found, expected = len(content) - header, math.prod(shape)
    if found != expected:
        raise UserError(f"{path} has {found} values; expected {expected}: download it again")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)
