"""N:M: n of every m consecutive inputs of an output are active, as sparse tensor cores take it (Mishra et al.,
"Accelerating Sparse Deep Neural Networks", 2021; from scratch: Zhou et al., ICLR 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import UserError
from .base import Shape, Structured


@dataclass(frozen=True, kw_only=True)
class NofM(Structured):
    """m: consecutive input channels at one place of the kernel; n is chosen for every layer to meet the plan. A last
    group of fewer than m channels is as if padded with zeros.

    Drop is that of the whole layer; each group then grows as many as it lost.
    """

    m: int

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.m, int) or self.m < 2:
            raise UserError(f"sparsifier.pattern.m is {self.m}; a whole number, 2 or more, is meant")

    def __str__(self) -> str:
        return f"n of every {self.m} inputs"

    def levels(self, shape: Shape) -> int:
        return self.m

    def count(self, shape: Shape, level: int) -> int:
        outputs, inputs, *kernel = shape
        full, rest = divmod(inputs, self.m)
        return outputs * (full * level + min(level, rest)) * prod(kernel)

    def largest(self, scores: Tensor, count: int) -> Tensor:
        return self._largest_of_each(scores, self.level(tuple(scores.shape), count))

    def refill(self, score: Tensor, kept: Tensor, old: Tensor, shape: Shape) -> Tensor:
        n = int(self._groups(old.float(), 0).sum(-1).max())
        return self._largest_of_each(score.masked_fill(kept, torch.inf), n)

    def _largest_of_each(self, scores: Tensor, n: int) -> Tensor:
        """The n largest of every group, the first ones among equals."""
        groups = self._groups(scores, -torch.inf)
        order = groups.argsort(dim=-1, descending=True, stable=True)
        marks = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :n], True)
        return marks.flatten(-2)[..., : scores.shape[1]].movedim(-1, 1)

    def _groups(self, values: Tensor, padding: float) -> Tensor:
        """(out, *kernel, groups, m)"""
        last = values.movedim(1, -1)
        return F.pad(last, (0, -last.shape[-1] % self.m), value=padding).unflatten(-1, (-1, self.m))
