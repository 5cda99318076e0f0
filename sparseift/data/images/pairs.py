"""Any map-style data sets of pairs (input, target)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from ...common import checks
from ...errors import UserError
from ..base import DataModule
from .views import TrainImages

SIZES = ("num_classes", "channels", "image_size")


class Pairs(DataModule):
    """Data sets of the user, whose samples are pairs of a tensor and a target, as the network and the loss take them.

    The random numbers of a training sample depend on (seed, epoch, index) alone, if its transforms use torch's global
    generator.

    Args:
        train: Training set: any object with `__len__` and `__getitem__`.
        test: Test set.
        val: Validation set; None to hold out `val_size` samples of `train`.
        num_classes, channels, image_size: Sizes for the task and the network; image_size is also compared with the
            samples. A task of your own may need none.
        common: Arguments of `DataModule`.
    """

    def __init__(
        self,
        *,
        train: Any,
        test: Any,
        val: Any = None,
        num_classes: int | None = None,
        channels: int | None = None,
        image_size: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        for name, samples in ("train", train), ("test", test), ("val", val):
            fits = all(hasattr(samples, method) for method in ("__len__", "__getitem__"))
            fits = (fits and not isinstance(samples, str | dict)) or (name == "val" and samples is None)
            given = type(samples).__name__ if samples is not None else None
            expected = f"a map-style data set, which dataset.{name}._target_ makes"
            checks.require(fits, f"dataset.{name}", given, expected)
        self.sets = {"train": train, "test": test, "val": val}
        self.num_classes = num_classes
        self.shape = None if None in (channels, image_size) else (channels, image_size, image_size)

    def load(self, train: bool) -> Any:
        if not train:
            return self.sets["test"]
        return ConcatDataset([self.sets["train"], self.sets["val"]]) if self.sets["val"] else self.sets["train"]

    def check(self, samples: Any, train: bool) -> None:
        super().check(samples, train)
        name = f"the first sample of dataset.{'train' if train else 'test'}"
        first = samples[0]
        fits = isinstance(first, tuple | list) and len(first) == 2
        checks.require(fits, name, type(first).__name__, "a pair of an input and a target")
        inputs, target = first
        if not isinstance(inputs, Tensor):
            raise UserError(
                f"the input of {name} is of type {type(inputs).__name__}; expected a tensor, such as by a transform of "
                "the data set"
            )
        if self.shape is not None:
            expected = f"{self.shape}, which is (dataset.channels, dataset.image_size, dataset.image_size)"
            checks.require(tuple(inputs.shape) == self.shape, f"the shape of {name}", tuple(inputs.shape), expected)
            expected = "a tensor of floating-point numbers, such as normalized ones"
            checks.require(inputs.is_floating_point(), f"the type of {name}", str(inputs.dtype), expected)
        if self.num_classes is not None:
            checks.integer(f"the target of {name}", int(target), 0, self.num_classes - 1)

    def split(self, samples: Any) -> tuple[Tensor, Tensor]:
        if self.sets["val"] is None:
            return super().split(samples)
        first = len(self.sets["train"])
        return torch.arange(first), torch.arange(first, len(samples))

    def train_view(self, samples: Any, indices: Tensor) -> Dataset:
        return TrainImages(samples, indices, nn.Identity(), self.seed)
