"""Strong augmentation: torchvision's transforms by image, and mixed batches against their definition."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest
from torch import Tensor
from torchvision.transforms import v2

from sparseift import UserError
from sparseift.data.images.augment import keys_of
from sparseift.data.images.strong import NoiseErasing, StrongAugmentation
from sparseift.data.images.tensors import TensorImages, TrainBatches

OPTIONS = {
    "rand_augment": {"operations": 2, "magnitude": 27, "probability": 0.5},
    "erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
    "cutmix_probability": 0.5,
}
MEAN, STD = [0.5, 0.4, 0.3], [0.1, 0.2, 0.25]
COUNT, SIZE = 2000, 8


def strong(**changes) -> StrongAugmentation:
    return StrongAugmentation(**OPTIONS | changes)


def mixed(**changes) -> tuple[Tensor, Tensor]:
    """Images that are 1 where they are of the sample itself and 0 where of its neighbour, and targets (COUNT, 2).

    Images and classes alternate, so that each sample has a neighbour of the other kind.
    """
    kind = torch.arange(COUNT) % 2
    images = kind.float().view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE)
    images, targets = strong(**changes).mix(images, kind, keys_of(torch.arange(COUNT), seed=0, epoch=0), 2)
    own = torch.where(kind.bool().view(-1, 1, 1, 1), images, 1 - images)
    return own, targets.gather(1, kind[:, None])[:, 0]


def test_mixup_is_a_weighted_mean_of_neighbours_with_the_share_of_the_targets() -> None:
    own, share = mixed(cutmix=0.0)
    torch.testing.assert_close(own, share.view(-1, 1, 1, 1).expand_as(own))
    assert kstest(share.numpy(), beta(0.8, 0.8).cdf).pvalue > 1e-3


def test_cutmix_replaces_a_box_whose_area_the_targets_have() -> None:
    own, share = mixed(mixup=0.0)
    assert set(own.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(own.mean((1, 2, 3)), share)
    for image in own[:200, 0].bool().logical_not():
        rows, columns = image.any(1), image.any(0)
        assert torch.equal(image, rows[:, None] & columns)  # a rectangle ...
        for line in (rows, columns):
            marked = line.nonzero().flatten().tolist()
            assert marked == list(range(marked[0], marked[-1] + 1)) if marked else True  # ... without holes


def test_the_boxes_of_cutmix_are_as_large_as_published() -> None:
    """sqrt(1 - share) of each side, cut off at the border (Yun et al. 2019, equation 2 and algorithm A1)."""
    rng = np.random.default_rng(0)
    expected = []
    for share, row, column in zip(rng.beta(1, 1, 20_000), *rng.integers(0, SIZE, (2, 20_000)), strict=True):
        length = int(SIZE * math.sqrt(1 - share))
        spans = [min(at - length // 2 + length, SIZE) - max(at - length // 2, 0) for at in (row, column)]
        expected.append(1 - spans[0] * spans[1] / SIZE**2)
    _, share = mixed(mixup=0.0)
    assert share.mean().item() == pytest.approx(np.mean(expected), abs=0.03)
    assert share.std().item() == pytest.approx(np.std(expected), abs=0.03)


def test_cutmix_instead_of_mixup_with_its_probability() -> None:
    own, share = mixed(cutmix_probability=0.25)
    of_cutmix = (own.flatten(1).amin(1) != own.flatten(1).amax(1)) | (share == 1)
    assert of_cutmix.float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_targets_are_probabilities_and_classes_keep_their_share() -> None:
    images, targets = torch.randn(6, 3, SIZE, SIZE), torch.tensor([0, 4, 2, 2, 1, 3])
    mixed_images, soft = strong().mix(images, targets, keys_of(torch.arange(6), 1, 2), 5)
    assert mixed_images.dtype == images.dtype and soft.shape == (6, 5)
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    pairs = zip(soft, targets.tolist(), targets.roll(1).tolist(), strict=True)
    assert all(set(row.nonzero().flatten().tolist()) <= {own, other} for row, own, other in pairs)


def test_an_image_has_the_same_share_in_any_batch() -> None:
    """Its neighbour is another one, and the global generator does not matter."""
    images, targets = torch.zeros(6, 1, SIZE, SIZE), torch.arange(6)
    whole = strong(cutmix=0.0).mix(images, targets, keys_of(torch.arange(6), 1, 2), 6)[1]
    torch.manual_seed(9)
    part = strong(cutmix=0.0).mix(images[:2], targets[:2], keys_of(torch.tensor([4, 2]), 1, 2), 6)[1]
    assert part[0, 0] == whole[4, 4] and part[1, 1] == whole[2, 2]
    other = strong(cutmix=0.0).mix(images, targets, keys_of(torch.arange(6), 1, 3), 6)[1]
    assert (other.diagonal() != whole.diagonal()).all()


def test_erased_rectangles_are_those_of_torchvision_with_noise_of_the_images() -> None:
    image = torch.full((3, 64, 64), 255, dtype=torch.uint8)
    torch.manual_seed(3)
    left = v2.RandomErasing(1.0, value=0)(torch.ones(1, 64, 64)).bool()
    torch.manual_seed(3)
    erased = NoiseErasing(1.0, MEAN, STD)(image)
    assert not left.all() and (erased[:, left[0]] == 255).all()
    noise = erased[:, ~left[0]].double() / 255
    assert noise.mean(1).tolist() == pytest.approx(MEAN, abs=0.03)
    assert noise.std(1).tolist() == pytest.approx(STD, abs=0.04)  # cut off at 0 and 1
    torch.manual_seed(0)
    untouched = sum(NoiseErasing(0.25, MEAN, STD)(image) is image for _ in range(400))
    assert untouched == pytest.approx(300, abs=35)


def test_each_operation_of_rand_augment_has_its_probability(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(v2.RandAugment, "forward", lambda self, image: calls.append(self.magnitude) or image)
    transform = v2.Compose(strong(erasing=0.0).transforms(MEAN, STD))
    torch.manual_seed(0)
    for _ in range(500):
        transform(torch.zeros(3, 4, 4, dtype=torch.uint8))
    assert set(calls) == {27} and len(calls) == pytest.approx(500, abs=60)


def test_images_in_memory_are_changed_one_by_one(numbered: Callable, finished: Callable) -> None:
    """By (seed, epoch, index) alone, before the transforms on the device."""
    pixels = torch.randint(0, 256, (12, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    transform = v2.Compose(strong().transforms(MEAN, STD))
    view = TrainBatches(TensorImages(pixels, torch.arange(12)), torch.arange(12).flip(0), 3, transform)
    images, targets, _ = view.__getitems__((4, torch.arange(12)))
    again, chosen, _ = view.__getitems__((4, torch.tensor([7, 2])))
    assert targets[[7, 2]].tolist() == chosen.tolist() and torch.equal(images[[7, 2]], again)
    other, *_ = view.__getitems__((5, torch.arange(12)))
    assert (images != other).flatten(1).any(1).sum() > 6 and images.dtype == torch.uint8

    data = numbered(augmentation=OPTIONS)
    trained, soft = finished(data, data.train_dataloader())[0]
    assert trained.shape == (4, 1, 3, 3) and soft.shape == (4, 3) and soft.is_floating_point()
    _, classes = finished(data, data.val_dataloader())[0]
    assert classes.dtype == torch.int64 and classes.shape == (4,)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mixup": -1}, "recipe.augmentation.mixup is -1; expected a number >= 0"),
        ({"erasing": 2}, "recipe.augmentation.erasing is 2; expected a number in"),
        ({"rand_augment": {"magnitude": 9}}, "recipe.augmentation.rand_augment is .*; expected null, or operations"),
        (
            {"rand_augment": {"operations": 2, "magnitude": 31, "probability": 0.5}},
            "recipe.augmentation.rand_augment.magnitude is 31; expected an integer from 0 to 30",
        ),
    ],
)
def test_mistakes(changes: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        strong(**changes)


def test_nothing_is_changed_that_is_not_asked_for() -> None:
    none = strong(rand_augment=None, erasing=0, mixup=0, cutmix=0)
    assert none.transforms(MEAN, STD) == [] and not none.mixes
