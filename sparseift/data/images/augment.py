"""Augmentation of whole batches on their device.

The random numbers of an image are a hash of (seed, epoch, index of the image).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...common.seeds import GAMMA, hashed_, stable_seed

DRAWS = 8  # maximum number of random numbers per image


def keys_of(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """Return the keys of images, (N,) int64, for `draw`."""
    return indices * DRAWS * GAMMA + stable_seed(seed, "augment", epoch)


def draw(keys: Tensor, *sizes: int) -> list[Tensor]:
    """Return uniform random integers in [0, size), (N,) int64, for each size, by splitmix64 (see `seeds.hashed_`)."""
    state = keys + torch.arange(1, len(sizes) + 1, device=keys.device)[:, None] * GAMMA
    return [bits % size for bits, size in zip(hashed_(state), sizes, strict=True)]


class Normalize:
    """Maps uint8 images (B, C, H, W) to (images / 255 - mean) / std in float32."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        centre, width = (torch.tensor(list(values), dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
        self.scale, self.shift = (1 / (255 * width)).float(), (-centre / width).float()

    def __call__(self, images: Tensor) -> Tensor:
        if self.scale.device != images.device:
            self.scale, self.shift = self.scale.to(images.device), self.shift.to(images.device)
        return images.float().mul_(self.scale).add_(self.shift)


class Augment:
    """Random flip, random crop of the zero-padded image, normalization, and cutout.

    Maps uint8 images (B, C, S, S) and their keys (B,) to float32 images (B, C, S, S).

    Args:
        normalize: Maps uint8 images to float32.
        padding: Width of the zero padding before a random crop of the original size.
        flip: Whether to mirror an image with probability 1/2.
        cutout: Side of a square that is set to the mean; 0 for none. Its center is a random pixel, so the square may
            exceed the image (DeVries and Taylor, https://arxiv.org/abs/1708.04552).
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
    """Mirror the uint8 images for which `mirrored` is 1, and keep those for which it is 0.

    Bitwise operations are several times as fast as `torch.where` here.
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

    Copies the memory from the first to the last pixel of each window, and returns a view of the copies. This is several
    times as fast as indexing pixels or rows.
    """
    count, channels, width, _ = images.shape
    stretch = (channels - 1) * width**2 + (size - 1) * width + size
    first = torch.arange(count, device=images.device) * images[0].numel() + top * width + left
    stretches = images.as_strided((images.numel() - stretch + 1, stretch), (1, 1)).index_select(0, first)
    return stretches.as_strided((count, channels, size, size), (stretch, width**2, width, 1))


def cut_out(images: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Set a square around (row, column) of each image (B, C, S, S) to zero, in place."""
    place = torch.arange(images.shape[-1], device=images.device)
    rows, columns = ((place >= (at := centre[:, None] - side // 2)) & (place < at + side) for centre in (row, column))
    return images.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0.0)
