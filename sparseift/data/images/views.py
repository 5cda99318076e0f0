"""Views of a labelled data set that transform image by image."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...common.seeds import stable_seed


class LabelledImages(Protocol):
    """A data set of (image, class) by index.

    Attributes:
        targets: The class of every image.
        classes: All classes that there are.
    """

    targets: Sequence[int] | Tensor
    classes: Sequence[Any]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, int]: ...


Transform = Callable[[Any], Tensor]


class TrainView(Dataset):
    """The images at `indices` with a random transform, by (epoch, position in `indices`).

    The random numbers of a transform depend on (seed, epoch, index of the image) alone: not on workers, ranks, order or
    resume. Transforms must draw from torch's global CPU generator, as those of `torchvision.transforms.v2` do.
    """

    def __init__(self, images: LabelledImages, indices: Tensor, transform: Transform, seed: int) -> None:
        self.images = images
        self.indices = indices
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, position = place
        index = int(self.indices[position])
        image, target = self.images[index]
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would reseed every accelerator, too.
            torch.default_generator.manual_seed(stable_seed(self.seed, "augment", epoch, index))
            return self.transform(image), target

    def __getitems__(self, places: tuple[int, Tensor]) -> list[tuple[Tensor, int]]:
        epoch, positions = places
        return [self[epoch, position] for position in positions.tolist()]


class EvalView(Dataset):
    """The images at `indices` with a deterministic transform."""

    def __init__(self, images: LabelledImages, indices: Tensor, transform: Transform) -> None:
        self.images = images
        self.indices = indices
        self.transform = transform

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        image, target = self.images[int(self.indices[position])]
        return self.transform(image), target
