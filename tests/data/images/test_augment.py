"""Whole batches are augmented as torchvision augments image by image: the same pixels, the same distribution."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from sparseift.data.images.augment import Augment, Normalize, crop, cut_out, draw, flip, keys_of
from sparseift.data.images.tensors import TensorImages, TrainBatches

MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
SIZE, PADDING = 8, 3
IMAGES = torch.randint(1, 256, (40, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LIKELY = 1e-3  # p-values of the seeds below are above it, and would be in 999 of 1,000 other ones


def augment(**changes) -> Augment:
    return Augment(**{"normalize": Normalize(MEAN, STD), "padding": PADDING, "flip": True, "cutout": 0} | changes)


def likely(counts: Tensor | np.ndarray) -> bool:
    return chisquare(np.asarray(counts)).pvalue > LIKELY


def test_normalised_as_torchvision_does() -> None:
    reference = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    images = Normalize(MEAN, STD)(IMAGES)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, reference(IMAGES), rtol=0, atol=1e-6)


def test_every_crop_and_flip_has_torchvisions_pixels() -> None:
    """Of one image at all offsets, mirrored and not, in one batch."""
    top, left, mirrored = torch.cartesian_prod(torch.arange(7), torch.arange(7), torch.arange(2)).T
    batch = IMAGES[0].expand(len(top), -1, -1, -1)
    padded = torch.nn.functional.pad(flip(batch, mirrored), (PADDING,) * 4)
    found = crop(padded, top, left, SIZE)
    for window, y, x, turned in zip(found, top.tolist(), left.tolist(), mirrored.tolist(), strict=True):
        image = tv.horizontal_flip(IMAGES[0]) if turned else IMAGES[0]
        assert torch.equal(window, tv.crop(tv.pad(image, [PADDING]), y, x, SIZE, SIZE)), (y, x, turned)


def test_a_batch_is_the_crop_and_flip_of_what_is_drawn() -> None:
    keys = keys_of(torch.arange(40), seed=5, epoch=2)
    offsets = 2 * PADDING + 1
    batch, drawn = augment()(IMAGES, keys), draw(keys, offsets, offsets, 2)
    for image, found, y, x, turned in zip(IMAGES, batch, *drawn, strict=True):
        cropped = tv.crop(tv.pad(tv.horizontal_flip(image) if turned else image, [PADDING]), y, x, SIZE, SIZE)
        assert torch.equal(found, Normalize(MEAN, STD)(cropped[None])[0])


def test_crops_and_flips_are_as_frequent_as_torchvisions() -> None:
    """All 98 looks of an image that is different everywhere, against as many draws of torchvision's transform."""
    image = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8)
    usual = v2.Compose([v2.RandomCrop(SIZE, padding=PADDING), v2.RandomHorizontalFlip()])
    torch.manual_seed(0)
    reference = torch.cat([usual(image) for _ in range(20_000)])
    keys = keys_of(torch.arange(20_000), seed=0, epoch=0)
    own = augment(normalize=lambda images: images)(image.expand(20_000, -1, -1, -1), keys)
    kinds, which = torch.cat([own, reference]).flatten(1).unique(dim=0, return_inverse=True)
    assert len(kinds) == 98
    assert all(likely(part.bincount(minlength=98)) for part in which.view(2, -1))


@pytest.mark.parametrize("sizes", [(9, 9, 2), (5, 5, 2, 28, 28), (3, 3, 2, 8, 8)])
def test_draws_are_uniform_and_independent(sizes: tuple[int, ...]) -> None:
    """Of neighbouring images in an epoch, and of an image in neighbouring epochs."""
    of_images = draw(keys_of(torch.arange(50_000), seed=1, epoch=0), *sizes)
    of_epochs = draw(torch.cat([keys_of(torch.tensor([7]), seed=1, epoch=epoch) for epoch in range(5000)]), *sizes)
    for draws in (of_images, of_epochs):
        for number, size in zip(draws, sizes, strict=True):
            assert number.dtype == torch.int64 and number.min() >= 0 and number.max() < size
            assert likely(number.bincount(minlength=size))
            assert likely((number[:-1] * size + number[1:]).bincount(minlength=size**2))  # with the next one's
        top, left, mirrored = draws[:3]
        assert likely(((top * sizes[1] + left) * 2 + mirrored).bincount(minlength=sizes[0] * sizes[1] * 2))


def test_all_bits_are_random() -> None:
    """As real numbers the draws are uniform; any two images, epochs or seeds have different ones."""
    [numbers] = draw(keys_of(torch.arange(100_000), seed=0, epoch=0), 2**62)
    assert kstest(numbers.double().numpy() / 2**62, "uniform").pvalue > LIKELY
    bits = (numbers[:, None] >> torch.arange(62)) & 1
    assert all(likely(bit.bincount(minlength=2)) for bit in bits.T)
    keys = [keys_of(torch.arange(1000), seed, epoch) for seed in range(10) for epoch in range(10)]
    assert len(torch.cat([draw(part, 2**62)[0] for part in keys]).unique()) == 100_000


def test_draws_are_those_of_splitmix64() -> None:
    """The reference output of the generator for the seed 1234567 (https://prng.di.unimi.it/splitmix64.c)."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    sizes = [2**61] * 4
    found = draw(torch.tensor([1234567]), *sizes)
    assert [int(number) for number in found] == [value % 2**61 for value in expected]


def test_an_image_looks_the_same_in_any_batch() -> None:
    images = TensorImages(IMAGES, torch.arange(40))
    view = TrainBatches(images, torch.arange(40).flip(0), seed=3)
    batch, targets, keys = view.__getitems__((4, torch.arange(40)))
    whole = dict(zip(targets.tolist(), augment()(batch, keys), strict=True))
    part = TrainBatches(images, torch.tensor([5, 17, 30]), seed=3)
    batch, targets, keys = part.__getitems__((4, torch.tensor([2, 0])))
    assert targets.tolist() == [30, 5]
    for target, image in zip(targets.tolist(), augment()(batch, keys), strict=True):
        assert torch.equal(image, whole[target])


def test_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    augment(cutout=4)(IMAGES, keys_of(torch.arange(40), 0, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_changed_that_is_not_asked_for() -> None:
    keys = keys_of(torch.arange(40), 0, 0)
    assert torch.equal(augment(padding=0, flip=False)(IMAGES, keys), Normalize(MEAN, STD)(IMAGES))
    mirrored = augment(padding=0)(IMAGES, keys)
    plain, turned = Normalize(MEAN, STD)(IMAGES), Normalize(MEAN, STD)(IMAGES.flip(-1))
    same = (mirrored == plain).flatten(1).all(1)
    assert torch.equal(mirrored, torch.where(same[:, None, None, None], plain, turned)) and 10 < same.sum() < 30


@pytest.mark.parametrize("side", [1, 4, 5])
def test_cutout_is_a_square_around_any_pixel(side: int) -> None:
    """As in the authors' code: rows from centre - side // 2 on, cut off at the border."""
    row, column = torch.cartesian_prod(torch.arange(SIZE), torch.arange(SIZE)).T
    found = cut_out(torch.ones(64, 2, SIZE, SIZE), row, column, side)
    for image, y, x in zip(found.numpy(), row.tolist(), column.tolist(), strict=True):
        expected = np.ones((2, SIZE, SIZE))
        top, left = y - side // 2, x - side // 2
        expected[:, max(top, 0) : top + side, max(left, 0) : left + side] = 0
        assert np.array_equal(image, expected), (y, x)


def test_cutout_leaves_the_rest_of_the_image_as_it_was() -> None:
    keys = keys_of(torch.arange(40), 0, 0)
    without, cut = augment()(IMAGES, keys), augment(cutout=4)(IMAGES, keys)
    hole = (cut == 0).all(1, keepdim=True).expand_as(cut)
    assert torch.equal(cut, without.masked_fill(hole, 0.0))
    sizes = hole[:, 0].flatten(1).sum(1)
    assert sizes.min() >= 4 and sizes.max() == 16
