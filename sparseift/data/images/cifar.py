"""CIFAR-10 and CIFAR-100, in the Python or the binary format of https://www.cs.toronto.edu/~kriz/cifar.html."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from ...errors import UserError
from ..download import download_into
from .tensors import TensorImageData

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class BinaryFiles:
    """Files of records: label bytes, the last of which is the class, and pixels, channel by channel.

    Args:
        folder: Folder in the archive.
        label_bytes: Number of label bytes in a record.
        train: MD5 sums of the training files, by name.
        test: MD5 sums of the test files, by name.
        names: Text file of the names of the classes, which need not be there.
    """

    folder: str
    label_bytes: int
    train: Mapping[str, str]
    test: Mapping[str, str]
    names: str

    def read(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        """Return the images, uint8 (N, 3, 32, 32), and the classes, int64 (N,).

        Raises:
            UserError: A file is missing or damaged.
        """
        records = []
        for name, md5 in (self.train if train else self.test).items():
            path = root / self.folder / name
            if not check_integrity(path, md5):
                raise UserError(f"{path} is {'damaged' if path.exists() else 'missing'}; unpack {self.folder} again")
            records.append(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8))
        table = torch.cat(records).view(-1, self.label_bytes + PIXELS)
        return table[:, self.label_bytes :].reshape(-1, *SHAPE), table[:, self.label_bytes - 1].long()


class Cifar10(TensorImageData):
    """50,000 + 10,000 color images of 32 x 32 pixels in 10 classes.

    Args:
        root: Folder of the unpacked archive, in the Python format of torchvision or in the binary format.
        download: Whether to download the data set if it is missing.
        common: Arguments of `TensorImageData`.
    """

    source: ClassVar[type[CIFAR10]] = CIFAR10
    binary: ClassVar[BinaryFiles] = BinaryFiles(
        folder="cifar-10-batches-bin",
        label_bytes=1,
        train={
            "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
            "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
            "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
            "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
            "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        },
        test={"test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d"},
        names="batches.meta.txt",
    )

    def __init__(self, *, root: str, download: bool, **common: Any) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser().resolve()
        self.download = download

    @property
    def _is_binary(self) -> bool:
        return (self.root / self.binary.folder).is_dir() and not (self.root / self.source.base_folder).is_dir()

    def _by_hand(self) -> str:
        return f"unpack {self.source.filename} from https://www.cs.toronto.edu/~kriz/cifar.html there"

    def _incomplete(self) -> UserError:
        return UserError(
            f"no complete folder {self.source.base_folder} in {self.root}; "
            f"set dataset.download=true, or {self._by_hand()}"
        )

    def prepare_data(self) -> None:
        """Download the data set if `download` is true. Raise `UserError` if it is missing afterwards."""
        if self._is_binary:
            return
        if self.download:
            source = self.source
            download_into(self.root, source.__name__, lambda: source(self.root, download=True), self._by_hand())
        elif not (self.root / self.source.base_folder).is_dir():
            raise self._incomplete()

    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        if self._is_binary:
            names = self.root / self.binary.folder / self.binary.names
            self.names = names.read_text().split() if names.is_file() else None
            return self.binary.read(self.root, train)
        try:
            data = self.source(self.root, train=train)
        except RuntimeError as error:
            raise self._incomplete() from error
        self.names = data.classes
        return torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets)


class Cifar100(Cifar10):
    """50,000 + 10,000 color images of 32 x 32 pixels in 100 classes, with the arguments of `Cifar10`."""

    source = CIFAR100
    binary = BinaryFiles(
        folder="cifar-100-binary",
        label_bytes=2,
        train={"train.bin": "6172c7755cfe09b2fe270c85cebc1b15"},
        test={"test.bin": "4499cfba6c016c1be1438163640a0898"},
        names="fine_label_names.txt",
    )
