"""CIFAR-10 and CIFAR-100, in the python or the binary format of https://www.cs.toronto.edu/~kriz/cifar.html."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100

from ...errors import UserError
from . import cifar_binary
from .download import download_into
from .tensors import TensorImageData


class Cifar10(TensorImageData):
    """50,000 + 10,000 colour images of 32 x 32 pixels in 10 classes.

    Args:
        root: folder that holds (or will hold) torchvision's folder of the set, or that of its binary format.
        download: fetch the set if it is not there.
        common: the arguments of `TensorImageData`.
    """

    source: ClassVar[type[CIFAR10]] = CIFAR10
    binary: ClassVar[cifar_binary.BinaryFiles] = cifar_binary.CIFAR10

    def __init__(self, *, root: str, download: bool, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        self.download = download

    @property
    def _is_binary(self) -> bool:
        return self.binary.found_in(self.root) and not (self.root / self.source.base_folder).is_dir()

    def _by_hand(self) -> str:
        return f"unpack {self.source.filename} from https://www.cs.toronto.edu/~kriz/cifar.html there"

    def _incomplete(self) -> UserError:
        return UserError(
            f"no complete folder {self.source.base_folder} in {self.root}: "
            f"set dataset.download=true, or {self._by_hand()}"
        )

    def prepare_data(self) -> None:
        """Download the set where that is asked for and needed. UserError if it is missing and can't be had."""
        if self._is_binary:
            return
        if self.download:
            fetch = partial(self.source, self.root, download=True)
            download_into(self.root, self.source.__name__, fetch, self._by_hand())
        elif not (self.root / self.source.base_folder).is_dir():
            raise self._incomplete()

    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        if self._is_binary:
            return self.binary.read(self.root, train)
        try:
            data = self.source(self.root, train=train)
        except RuntimeError as error:
            raise self._incomplete() from error
        return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets)


class Cifar100(Cifar10):
    """50,000 + 10,000 colour images of 32 x 32 pixels in 100 classes; arguments of `Cifar10`."""

    source = CIFAR100
    binary = cifar_binary.CIFAR100
