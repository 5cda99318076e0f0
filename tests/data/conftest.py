"""Data modules of a handful of numbered images."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from sparseift.data import sampler
from sparseift.data.images.tensors import TensorImageData


class Numbered(TensorImageData):
    """24 grey 3x3 images, image i filled with i, classes in turn; four test images filled with 200 and up."""

    loaded: list[bool]

    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        self.loaded.append(train)
        numbers = torch.arange(24) if train else torch.arange(200, 204)
        return numbers.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 3, 3), numbers % 3


def options(**changes: Any) -> dict[str, Any]:
    """Arguments of a data module of small images in memory; not normalised, not augmented."""
    return {
        "batch_size": 4,
        "val_size": 6,
        "num_workers": 0,
        "seed": 0,
        "split_seed": 0,
        "num_classes": 3,
        "channels": 1,
        "image_size": 3,
        "mean": [0.0],
        "std": [1.0],
        "crop_padding": 0,
        "flip": False,
        "cutout": 0,
    } | changes


@pytest.fixture
def numbered() -> Callable[..., Numbered]:
    def make(**changes: Any) -> Numbered:
        data = Numbered(**options(**changes))
        data.loaded = []
        return data

    return make


@pytest.fixture
def settings() -> Callable[..., dict[str, Any]]:
    return options


@pytest.fixture
def finished() -> Callable[[TensorImageData, Iterable[Any]], list[tuple[Tensor, Tensor]]]:
    """The batches of a loader as the network sees them."""
    return lambda data, loader: [data.on_after_batch_transfer(batch) for batch in loader]


@pytest.fixture
def numbers() -> Callable[[Iterable[tuple[Tensor, Tensor]]], list[list[int]]]:
    """The numbers of the images of each batch."""
    return lambda batches: [images[:, 0, 1, 1].tolist() for images, *_ in batches]


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Pretend that torch.distributed is initialised."""

    def pretend(rank: int, world: int) -> None:
        monkeypatch.setattr(sampler.dist, "is_initialized", lambda: True)
        monkeypatch.setattr(sampler.dist, "get_rank", lambda: rank)
        monkeypatch.setattr(sampler.dist, "get_world_size", lambda: world)

    return pretend
