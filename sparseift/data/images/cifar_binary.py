"""CIFAR in the binary format of https://www.cs.toronto.edu/~kriz/cifar.html."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets.utils import check_integrity

from ...errors import UserError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class BinaryFiles:
    """Files of records: label bytes, of which the last one is the class, and the pixels channel by channel.

    folder: what the archive unpacks to. label_bytes: of a record. train, test: MD5 sums by file name, in order.
    """

    folder: str
    label_bytes: int
    train: Mapping[str, str]
    test: Mapping[str, str]

    def found_in(self, root: Path) -> bool:
        return (root / self.folder).is_dir()

    def read(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        """Images (N, 3, 32, 32) in uint8 and classes (N,). Raises UserError where a file is missing or damaged."""
        records = []
        for name, md5 in (self.train if train else self.test).items():
            path = root / self.folder / name
            if not check_integrity(path, md5):
                raise UserError(f"{path} is {'damaged' if path.exists() else 'missing'}: unpack {self.folder} anew")
            records.append(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8))
        table = torch.cat(records).view(-1, self.label_bytes + PIXELS)
        return table[:, self.label_bytes :].reshape(-1, *SHAPE), table[:, self.label_bytes - 1].long()


CIFAR10 = BinaryFiles(
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
)
CIFAR100 = BinaryFiles(
    folder="cifar-100-binary",
    label_bytes=2,
    train={"train.bin": "6172c7755cfe09b2fe270c85cebc1b15"},
    test={"test.bin": "4499cfba6c016c1be1438163640a0898"},
)
