"""Augmentation of whole batches on the device that they are on, each image by random numbers of its own.

Its numbers are a function of (seed, epoch, index of the image): a counter is hashed, no generator moves on. So they
depend neither on the batch nor on the device, the ranks or a resume.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...common.seeds import stable_seed

GAMMA = 0x9E3779B97F4A7C15 - 2**64  # signed, as torch's integers are
DRAWS = 8  # numbers that are set aside for each image, some of them not used


def keys_of(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """(N,) int64: where in the random numbers of (seed, epoch) those of each index begin."""
    return indices * DRAWS * GAMMA + stable_seed(seed, "augment", epoch)


def draw(keys: Tensor, *sizes: int) -> list[Tensor]:
    """For each size n, (N,) int64 uniform in [0, n), by splitmix64.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    state = keys + torch.arange(1, len(sizes) + 1, device=keys.device)[:, None] * GAMMA
    state = (state ^ _shift(state, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    state = (state ^ _shift(state, 27)) * (0x94D049BB133111EB - 2**64)
    state = state ^ _shift(state, 31)
    return [bits % size for bits, size in zip(state, sizes, strict=True)]


def _shift(state: Tensor, bits: int) -> Tensor:
    """To the right, zeros from the left."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


class Normalize:
    """uint8 (B, C, H, W) -> float32, scaled to [0, 1], less `mean`, divided by `std`."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        mean, std = (torch.tensor(list(values), dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
        self.scale, self.shift = (1 / (255 * std)).float(), (-mean / std).float()

    def __call__(self, images: Tensor) -> Tensor:
        if self.scale.device != images.device:
            self.scale, self.shift = self.scale.to(images.device), self.shift.to(images.device)
        return images.float().mul_(self.scale).add_(self.shift)


class Augment:
    """Random crop of the zero-padded image, random flip, normalisation, cutout; uint8 (B, C, S, S) and keys (B,) ->
    float32 (B, C, S, S).

    Args:
        normalize: what makes floats of uint8 images.
        padding: zeros on each side, before an image of the old size is cropped.
        flip: mirror every other image.
        cutout: side of a square that is set to zero, the mean; around any pixel, so that a part of it may lie outside
            (DeVries and Taylor, https://arxiv.org/abs/1708.04552). 0 for none.
    """

    def __init__(self, normalize: Normalize, padding: int, flip: bool, cutout: int) -> None:
        self.normalize = normalize
        self.padding = padding
        self.flip = flip
        self.cutout = cutout

    def __call__(self, images: Tensor, keys: Tensor) -> Tensor:
        size, offsets = images.shape[-1], 2 * self.padding + 1
        top, left, mirrored, *centre = draw(keys, offsets, offsets, 2, *(2 * [size] if self.cutout else []))
        if self.flip:
            images = flip(images, mirrored)
        if self.padding:
            images = crop(pad(images, self.padding), top, left, size)
        images = self.normalize(images)
        return cut_out(images, *centre, self.cutout) if self.cutout else images


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """The uint8 images for which `mirrored` is 1 from right to left, the others, for which it is 0, as they are.

    By their bits, which is several times as fast as a condition that is the same for all pixels of an image.
    """
    all_or_none = -mirrored.to(torch.uint8).view(-1, 1, 1, 1)
    return images.flip(-1).bitwise_xor_(images).bitwise_and_(all_or_none).bitwise_xor_(images)


def pad(images: Tensor, width: int) -> Tensor:
    """Images (B, C, S, S) with zeros on each side, in half the time of torch's own."""
    count, channels, height, length = images.shape
    padded = images.new_zeros(count, channels, height + 2 * width, length + 2 * width)
    padded[:, :, width:-width, width:-width] = images
    return padded


def crop(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """The (B, C, size, size) windows with the upper left corners (top, left) of images (B, C, W, W); a view.

    A window is one stretch of memory from its first pixel to its last one, in which the other pixels of the image lie
    between its rows. So one copy an image is enough, several times as fast as an index of pixels or of rows.
    """
    count, channels, width, _ = images.shape
    stretch = (channels - 1) * width**2 + (size - 1) * width + size
    first = torch.arange(count, device=images.device) * images[0].numel() + top * width + left
    stretches = images.as_strided((images.numel() - stretch + 1, stretch), (1, 1)).index_select(0, first)
    return stretches.as_strided((count, channels, size, size), (stretch, width**2, width, 1))


def cut_out(images: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Sets to zero, in place, the square of this side around (row, column) of each image (B, C, S, S)."""
    place = torch.arange(images.shape[-1], device=images.device)
    rows, columns = ((place >= (at := centre[:, None] - side // 2)) & (place < at + side) for centre in (row, column))
    return images.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0.0)
