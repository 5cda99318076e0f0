"""Block sparsity: whole blocks of input and output channels are active or masked (Gray et al., "GPU Kernels for
Block-Sparse Weights", 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..masks import largest
from .drop_grow import grow
from .patterns import Shape, Structured

Region = tuple[slice, slice]


@dataclass(frozen=True)
class Block(Structured):
    """size: channels of a block in each direction, with all places of the kernel; a block's score is the mean over its
    weights. Blocks at the end of a layer are smaller where its channels are no multiple of `size`.

    To keep the count of weights, blocks give way to blocks of the same size only.
    """

    size: int

    def __post_init__(self):
        if not isinstance(self.size, int) or self.size < 1:
            raise UserError(f"sparsifier.pattern.size is {self.size}; a whole number, 1 or more, is meant")

    def __str__(self) -> str:
        return f"blocks of {self.size} x {self.size} channels"

    def levels(self, shape: Shape) -> int:
        rows, columns = self._grid(shape)
        return rows * columns

    def count(self, shape: Shape, level: int) -> int:
        return sum(blocks * weights for _, blocks, weights in self._regions(shape, level))

    def largest(self, scores: Tensor, count: int) -> Tensor:
        shape = tuple(scores.shape)
        pooled = self.pool(scores)
        marks = torch.zeros_like(pooled, dtype=torch.bool)
        for region, blocks, _ in self._regions(shape, self.level(shape, count)):
            part = pooled[region]
            marks[region] = largest(part.flatten(), blocks).view(part.shape)
        return self.spread(marks, shape)

    def pool(self, values: Tensor) -> Tensor:
        sums, weights = self._block_sums(values), self._block_sums(torch.ones_like(values))
        return sums / weights

    def spread(self, marks: Tensor, shape: Shape) -> Tensor:
        wide = marks.repeat_interleave(self.size, 0)[: shape[0]].repeat_interleave(self.size, 1)[:, : shape[1]]
        return wide.view(*shape[:2], *(1 for _ in shape[2:])).expand(shape)

    def refill(self, score: Tensor, kept: Tensor, old: Tensor) -> Tensor:
        ...
