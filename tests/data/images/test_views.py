"""Augmentation is a function of (seed, epoch, image); evaluation has none."""

import random

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from sparseift.data.images.views import EvalImages, TrainImages

PIXELS = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGES = [(image, i % 3) for i, image in enumerate(PIXELS)]
TRANSFORM = v2.Compose([v2.RandomCrop(8, padding=3), v2.RandomHorizontalFlip()])


def view(seed: int = 0, indices: tuple[int, ...] = tuple(range(12))) -> TrainImages:
    return TrainImages(IMAGES, torch.tensor(indices), TRANSFORM, seed)


def test_an_image_looks_the_same_whenever_it_is_asked_for() -> None:
    forward = {place: view()[place][0] for place in [(e, i) for e in range(3) for i in range(12)]}
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    for place in reversed(forward):
        assert torch.equal(view()[place][0], forward[place])


def test_looks_follow_the_image_and_not_its_place_in_the_split() -> None:
    assert torch.equal(view()[2, 7][0], view(indices=(1, 7, 9))[2, 1][0])


def test_looks_differ_between_epochs_seeds_and_images() -> None:
    looks = {view(seed)[epoch, 4][0].numpy().tobytes() for seed in range(5) for epoch in range(5)}
    assert len(looks) > 15

    marked = [(torch.arange(64, dtype=torch.uint8).view(1, 8, 8), 0)] * 12
    same = TrainImages(marked, torch.arange(12), TRANSFORM, 0)
    assert len({same[0, i][0].numpy().tobytes() for i in range(12)}) > 6


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert view()[0, 0][0].shape == (3, 8, 8)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomCrop(8, padding=3),
        v2.RandomHorizontalFlip(),
        v2.RandomResizedCrop(8, interpolation=v2.InterpolationMode.BILINEAR),
    ],
    ids=lambda t: type(t).__name__,
)
def test_transforms_draw_from_torch_alone(transform: v2.Transform) -> None:
    looks = []
    for other in range(5):
        random.seed(other)
        np.random.seed(other)
        torch.manual_seed(1)
        looks.append(transform(IMAGES[0][0]))
    assert all(torch.equal(look, looks[0]) for look in looks)


def test_evaluation_shows_images_as_they_are() -> None:
    image, target = EvalImages(IMAGES, torch.tensor([3, 5]), torch.nn.Identity())[1]
    assert torch.equal(image, PIXELS[5])
    assert target == 2
