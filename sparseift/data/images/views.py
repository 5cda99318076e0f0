"""Views of a labelled data set with a transform for each image."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ...common.seeds import stable_seed
from ..base import EvalView


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
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would also seed every accelerator.
            seed = stable_seed(self.seed, "augment", epoch, int(self.indices[position]))
            torch.default_generator.manual_seed(seed)
            return self.transform(image), target

    def __getitems__(self, batch: tuple[int, Tensor]) -> list[tuple[Tensor, int]]:
        epoch, positions = batch
        return [self[epoch, position] for position in positions.tolist()]
