"""Block sparsity: whole blocks of input and output channels are active or masked.

Gray et al., "GPU Kernels for Block-Sparse Weights", 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.checks import integer
from ..topk import grow, largest
from .base import Shape, Structured

Region = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Block(Structured):
    """Blocks of `size` x `size` channels and all kernel positions. The score of a block is the mean over its weights.

    The last blocks are smaller if the number of channels is not a multiple of `size`. An update grows blocks of the
    same height and width as the dropped ones, which keeps the number of active weights.

    Args:
        size: Number of input channels and of output channels of a block.
    """

    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("pattern.size", self.size, 1)

    def __str__(self) -> str:
        return f"blocks of {self.size} x {self.size} channels"

    def levels(self, shape: Shape) -> int:
        return ceil(shape[0] / self.size) * ceil(shape[1] / self.size)

    def count(self, shape: Shape, level: int) -> int:
        return sum(blocks * weights for _, blocks, weights in self._regions(shape, level))

    def parts(self, shape: Shape, level: int) -> Sequence[int]:
        return [blocks for _, blocks, _ in self._regions(shape, level)]

    def largest(self, scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
        shape = tuple(scores.shape)
        pooled = self.pool(scores)
        if among is not None:
            pooled = pooled.masked_fill(~self.unit_mask(among), -torch.inf)
        units = torch.zeros_like(pooled, dtype=torch.bool)
        for region, blocks, _ in self._regions(shape, self.level(shape, count)):
            units[region] = largest(pooled[region].flatten(), blocks).view(pooled[region].shape)
        return self.weight_mask(units, shape)

    def pool(self, values: Tensor) -> Tensor:
        return self._block_sums(values) / self._block_sums(torch.ones_like(values))

    def unit_mask(self, mask: Tensor) -> Tensor:
        return self.pool(mask.float()) > 0

    def weight_mask(self, units: Tensor, shape: Shape) -> Tensor:
        wide = units.repeat_interleave(self.size, 0)[: shape[0]].repeat_interleave(self.size, 1)[:, : shape[1]]
        return wide.view(*wide.shape, *(1 for _ in shape[2:])).expand(shape)

    def refill(self, score: Tensor, kept: Tensor, old: Tensor, dropped: int, shape: Shape) -> Tensor:
        new, lost = kept.clone(), old & ~kept
        regions = [region for region, _, _ in self._regions(shape, 0)]
        counts = torch.stack([lost[region].count_nonzero() for region in regions]).tolist()
        for region, count in zip(regions, counts, strict=True):
            new[region] = grow(score[region], kept[region], count)
        return new

    def _block_sums(self, values: Tensor) -> Tensor:
        """Sums over blocks, of shape (rows of blocks, columns of blocks)."""
        channels = values.flatten(2).sum(-1) if values.dim() > 2 else values
        rows, columns = (-width % self.size for width in channels.shape)
        blocks = F.pad(channels, (0, columns, 0, rows)).unflatten(1, (-1, self.size)).unflatten(0, (-1, self.size))
        return blocks.sum((1, 3))

    def _regions(self, shape: Shape, level: int) -> Iterator[tuple[Region, int, int]]:
        """For each size of block: the region of these blocks, the number of active ones at a level, and their weights.

        The largest blocks come first, so that `count` increases with the level.
        """
        sides = [self._sides(width) for width in shape[:2]]
        regions = [((a, b), m * n, p * q * prod(shape[2:])) for (a, m, p), (b, n, q) in product(*sides)]
        levels, seen, active = self.levels(shape), 0, 0
        for region, blocks, weights in sorted(regions, key=lambda region: region[2], reverse=True):
            seen += blocks
            share = (2 * level * seen + levels) // (2 * levels)  # of the blocks seen so far, to the nearest
            yield region, share - active, weights
            active = share

    def _sides(self, width: int) -> list[tuple[slice, int, int]]:
        """Range, number and width of the whole blocks along a side, and of the smaller block at its end."""
        whole, rest = divmod(width, self.size)
        sides = [(slice(0, whole), whole, self.size), (slice(whole, whole + 1), 1, rest)]
        return [side for side in sides if side[1] and side[2]]
