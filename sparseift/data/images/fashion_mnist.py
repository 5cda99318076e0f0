"""Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist), from its four idx files."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.datasets import FashionMNIST

from ...errors import UserError
from .download import download_into
from .idx import read_idx
from .tensors import TensorImageData


class FashionMnist(TensorImageData):
    """60,000 + 10,000 grey images of 28 x 28 pixels in 10 classes of clothing.

    Args:
        root: folder of the idx files, gzipped or not; they may also be in FashionMNIST/raw there, as
            torchvision has it.
        download: fetch them if they are not there.
        common: the arguments of `TensorImageData`.
    """

    def __init__(self, *, root: str, download: bool, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        self.download = download

    def prepare_data(self) -> None:
        """Download the files where that is asked for and needed. UserError if they are missing and can't be had."""
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
                f"{tuple(targets.shape)}: must be (N, height, width) and (N)"
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
                f"no {name}[.gz] in {self.root} or its FashionMNIST/raw: name the folder of the idx files in "
                "dataset.root (Debian's package dataset-fashion-mnist puts them in "
                "/usr/share/datasets/fashion-mnist), or set dataset.download=true"
            )
        return path


def _names(train: bool) -> tuple[str, str]:
    part = "train" if train else "t10k"
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
