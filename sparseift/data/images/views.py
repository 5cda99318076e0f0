"""Views of a labelled data set with a transform for each image."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ...common.seeds import stable_seed
from ..base import EvalView
from .augment import keys_of


class LabelledImages(Protocol):
    """A data set of pairs (image, class).

    Attributes:
        targets: The class of every image.
        classes: All classes.
    """

    targets: Sequence[int] | Tensor
    classes: Sequence[Any]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, int]: ...


Transform = Callable[[Any], Tensor]


class EvalImages(EvalView):
    """The images at `indices` with a deterministic transform, by position in `indices`."""

    def __init__(self, images: LabelledImages, indices: Tensor, transform: Transform) -> None:
        super().__init__(images, indices)
        self.transform = transform

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        image, target = super().__getitem__(position)
        return self.transform(image), target


class TrainImages(EvalView):
    """The images at `indices` with a random transform, by (epoch, position in `indices`).

    The random numbers of a transform depend on (seed, epoch, index of the image) alone. Transforms must use torch's
    global CPU generator, as those of `torchvision.transforms.v2` do.
    """

    def __init__(self, images: LabelledImages, indices: Tensor, transform: Transform, seed: int) -> None:
        super().__init__(images, indices)
        self.transform = transform
        self.seed = seed

    def __getitem__(self, place: Any) -> tuple[Tensor, int]:
        epoch, position = place
        image, target = super().__getitem__(position)
        return transformed(image, self.transform, self.seed, epoch, int(self.indices[position])), target

    def __getitems__(self, batch: tuple[int, Tensor]) -> list[Any]:
        epoch, positions = batch
        return [self[epoch, position] for position in positions.tolist()]


class KeyedImages(TrainImages):
    """`TrainImages` with the keys of their augmentation on the device (see `augment.keys_of`)."""

    def __getitems__(self, batch: tuple[int, Tensor]) -> list[Any]:
        epoch, positions = batch
        keys = keys_of(self.indices[positions], self.seed, epoch).tolist()
        return [(*sample, key) for sample, key in zip(super().__getitems__(batch), keys, strict=True)]


def transformed(image: Any, transform: Transform, seed: int, epoch: int, index: int) -> Tensor:
    """Apply a random transform with random numbers that depend on (seed, epoch, index) alone."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed every accelerator.
        torch.default_generator.manual_seed(stable_seed(seed, "augment", epoch, index))
        return transform(image)
