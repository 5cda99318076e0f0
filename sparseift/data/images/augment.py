"""Augmentation of whole batches on their device, with random numbers of its own for each image.

The numbers are a hash of (seed, epoch, index of the image), so they depend neither on the batch nor on the device, the
ranks or a resume.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...common.seeds import stable_seed

GAMMA = 0x9E3779B97F4A7C15 - 2**64  # signed, as torch's integers are
DRAWS = 8  # random numbers reserved for each image


def keys_of(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """Return, for each index, where its random numbers begin among those of (seed, epoch): (N,) int64."""
    return indices * DRAWS * GAMMA + stable_seed(seed, "augment", epoch)


def draw(keys: Tensor, *sizes: int) -> list[Tensor]:
    """Return for each size n random integers, (N,) int64, uniform in [0, n), by splitmix64.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    state = keys + torch.arange(1, len(sizes) + 1, device=keys.device)[:, None] * GAMMA
    state = (state ^ _shift(state, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    state = (state ^ _shift(state, 27)) * (0x94D049BB133111EB - 2**64)
    state = state ^ _shift(state, 31)
    return [bits % size for bits, size in zip(state, sizes, strict=True)]


def _shift(state: Tensor, bits: int) -> Tensor:
    """Logical shift to the right."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


class Normalize:
    """Maps uint8 (B, C, H, W) to float32: scaled to [0, 1], minus `mean`, divided by `std`."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        centre, width = (torch.tensor(list(values), dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
        self.scale, self.shift = (1 / (255 * width)).float(), (-centre / width).float()

    def __call__(self, images: Tensor) -> Tensor:
        if self.scale.device != images.device:
            self.scale, self.shift = self.scale.to(images.device), self.shift.to(images.device)
        return images.float().mul_(self.scale).add_(self.shift)


class Augment:
    """Random flip, random crop of the zero-padded image, normalization, and cutout.

    Maps uint8 (B, C, S, S) and keys (B,) to float32 (B, C, S, S).

    Args:
        normalize: Maps uint8 images to float32.
        padding: Zeros on each side before an image of the original size is cropped.
        flip: Mirror an image with probability 1/2.
        cutout: Side of a square that is set to zero, the mean; 0 for none. Its center is any pixel, so a part of it may
            lie outside the image (DeVries and Taylor, https://arxiv.org/abs/1708.04552).
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
        if not centre:
            return images
        row, column = centre
        return cut_out(images, row, column, self.cutout)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror the uint8 images for which `mirrored` is 1; it is 0 for the others.

    Bitwise operations are several times as fast as `torch.where` with one condition for all pixels of an image.
    """
    all_or_none = -mirrored.to(torch.uint8).view(-1, 1, 1, 1)
    return images.flip(-1).bitwise_xor_(images).bitwise_and_(all_or_none).bitwise_xor_(images)


def pad(images: Tensor, width: int) -> Tensor:
    """Pad images (B, C, S, S) with zeros on each side, in half the time of `torch.nn.functional.pad`."""
    count, channels, height, length = images.shape
    padded = images.new_zeros(count, channels, height + 2 * width, length + 2 * width)
    padded[:, :, width:-width, width:-width] = images
    return padded


def crop(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """Return the windows (B, C, size, size) of images (B, C, W, W) with upper left corners (top, left).

    One stretch of memory from the first to the last pixel of a window is copied for each image, with the pixels between
    the rows. This is several times as fast as an index of pixels or rows. The result is a view of these copies.
    """
    count, channels, width, _ = images.shape
    stretch = (channels - 1) * width**2 + (size - 1) * width + size
    first = torch.arange(count, device=images.device) * images[0].numel() + top * width + left
    stretches = images.as_strided((images.numel() - stretch + 1, stretch), (1, 1)).index_select(0, first)
    return stretches.as_strided((count, channels, size, size), (stretch, width**2, width, 1))


def cut_out(images: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Set the square of this side around (row, column) of each image (B, C, S, S) to zero, in place."""
    place = torch.arange(images.shape[-1], device=images.device)
    rows, columns = ((place >= (at := centre[:, None] - side // 2)) & (place < at + side) for centre in (row, column))
    return images.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0.0)
