"""Small batches: patches of a picture take the place of samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch.nn.functional as F
from torch import Tensor

from ..kernels import Geometry

Pair = tuple[int, int]

TILES = {8: (2, 4), 16: (4, 4)}
"""Pixels of the usual tile of the kernels, by lanes."""

VISIT, ALONE = 2.0, 4.5
"""Time of a tile besides that of its sums, and time of a single sum, which waits for itself: in sums of a tile."""


@dataclass(frozen=True)
class Patches:
    """Cuts pictures into patches that a convolution without padding maps to the patches of its output.

    The lanes of a vector are samples, so a batch that does not fill them leaves the kernels idle.

    Args:
        geometry: The convolution.
        counts: Rows and columns of patches.
        input: Height and width of the input.
        output: Height and width of the output.
    """

    geometry: Geometry
    counts: Pair
    input: Pair
    output: Pair

    @property
    def results(self) -> Pair:
        """Height and width of the output of a patch."""
        return ceil(self.output[0] / self.counts[0]), ceil(self.output[1] / self.counts[1])

    @property
    def inner(self) -> Geometry:
        """The convolution of patches."""
        g = self.geometry
        return Geometry(g.kernel, g.stride, (0, 0), g.dilation, g.groups)

    @property
    def count(self) -> int:
        """Patches of a picture."""
        return self.counts[0] * self.counts[1]

    @property
    def copied(self) -> int:
        """Pixels of all patches of a picture, which overlap."""
        return self.counts[0] * self._windows(0)[1] * self.counts[1] * self._windows(1)[1]

    def cut(self, x: Tensor) -> Tensor:
        """Return the patches of pictures (N, C, H, W) as samples, with the batch innermost in memory."""
        g, edges = self.geometry, []
        for i in (1, 0):
            _, window, step = self._windows(i)
            total = (self.counts[i] - 1) * step + window
            edges += [g.padding[i], total - self.input[i] - g.padding[i]]
        (height, down), (width, right) = (self._windows(i)[1:] for i in (0, 1))
        patches = F.pad(x, edges).unfold(2, height, down).unfold(3, width, right)  # (N, C, rows, columns, h, w)
        innermost = patches.permute(1, 4, 5, 2, 3, 0).contiguous()
        return innermost.view(x.shape[1], height, width, -1).permute(3, 0, 1, 2)

    def joined(self, patches: Tensor) -> Tensor:
        """Return the pictures (N, C, H, W) whose patches these are, with the batch innermost in memory."""
        channels, (height, width), (rows, columns) = patches.shape[1], self.results, self.counts
        parts = patches.permute(1, 2, 3, 0).view(channels, height, width, rows, columns, -1)
        whole = parts.permute(0, 3, 1, 4, 2, 5).reshape(channels, rows * height, columns * width, -1)
        return whole[:, : self.output[0], : self.output[1]].contiguous().permute(3, 0, 1, 2)

    def _windows(self, i: int) -> tuple[int, int, int]:
        """In one dimension: size of the output of a patch, size of a patch, and pixels from one to the next."""
        g, size = self.geometry, self.results[i]
        return size, (size - 1) * g.stride[i] + g.dilation[i] * (g.kernel[i + 1] - 1) + 1, size * g.stride[i]


def best_patches(geometry: Geometry, size: tuple[int, int, int, int], lanes: int) -> Patches | None:
    """Return the patches with which a convolution takes the least time, or None if whole pictures take less.

    Args:
        size: Size (N, C, H, W) of the input.
        lanes: Samples of a vector.
    """
    batch, _, *picture = size
    pointwise = geometry.kernel[1:] == geometry.stride == (1, 1) and geometry.padding == (0, 0)
    if batch >= lanes or pointwise:  # the kernels themselves take pixels for samples where they can
        return None
    output = [
        (picture[i] + 2 * geometry.padding[i] - geometry.dilation[i] * (geometry.kernel[i + 1] - 1) - 1)
        // geometry.stride[i]
        + 1
        for i in (0, 1)
    ]
    whole, *cut = (
        Patches(geometry, counts, (picture[0], picture[1]), (output[0], output[1])) for counts in _counts(output, lanes)
    )

    def order(patches: Patches) -> tuple[float, ...]:
        """The time; then few vectors; then small patches, with which the cache has room for more channels."""
        return _cost(patches, batch, lanes), ceil(batch * patches.count / lanes), -patches.count, patches.copied

    best = min(cut, key=order, default=whole)
    return best if _cost(best, batch, lanes) < 0.8 * _cost(whole, batch, lanes) else None


def _counts(output: list[int], lanes: int) -> Iterator[Pair]:
    """Numbers of patches, in powers of two: one first."""
    powers = [2**i for i in range(lanes.bit_length())]
    for rows in powers:
        for columns in powers:
            if rows * columns <= lanes and rows <= output[0] and columns <= output[1]:
                yield rows, columns


def _cost(patches: Patches, batch: int, lanes: int) -> float:
    """Time that the kernels take for each weight."""
    height, width = patches.results
    vectors, tile = ceil(batch * patches.count / lanes), TILES[lanes]
    if height * width == 1:
        return vectors * ALONE
    return vectors * ceil(height / tile[0]) * ceil(width / tile[1]) * (tile[0] * tile[1] + VISIT)
