"""N:M sparsity: n of every m consecutive inputs of an output are active, as sparse tensor cores require.

Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021; trained from scratch: Zhou et al., ICLR 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from ...common.checks import integer
from .base import Shape, Structured


@dataclass(frozen=True, kw_only=True)
class NofM(Structured):
    """n of every m consecutive input channels, at each kernel position. `plan` chooses n for each layer.

    A last group of fewer than m channels counts as padded with zeros. An update drops the smallest weights of the whole
    layer; each group then grows as many weights as it lost.

    Args:
        m: Number of input channels in a group.
    """

    m: int

    def __post_init__(self) -> None:
        super().__post_init__()
        integer("pattern.m", self.m, 2)

    def __str__(self) -> str:
        return f"n of every {self.m} inputs"

    def levels(self, shape: Shape) -> int:
        return self.m

    def count(self, shape: Shape, level: int) -> int:
        outputs, inputs, *kernel = shape
        full, rest = divmod(inputs, self.m)
        return outputs * (full * level + min(level, rest)) * prod(kernel)

    def largest(self, scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
        if among is not None:
            scores = scores.masked_fill(~among, -torch.inf)
        return self._largest_of_each(scores, self.level(tuple(scores.shape), count))

    def refill(self, score: Tensor, kept: Tensor, old: Tensor, dropped: int, shape: Shape) -> Tensor:
        n = int(self._groups(old.float(), 0).sum(-1).max())
        return self._largest_of_each(score.masked_fill(kept, torch.inf), n)

    def _largest_of_each(self, scores: Tensor, n: int) -> Tensor:
        """Mask of the n largest scores of every group; of equal scores the first."""
        groups = self._groups(scores, -torch.inf)
        order = groups.argsort(dim=-1, descending=True, stable=True)
        chosen = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :n], True)
        return chosen.flatten(-2)[..., : scores.shape[1]].movedim(-1, 1)

    def _groups(self, values: Tensor, padding: float) -> Tensor:
        """Shape (out, *kernel, groups, m)."""
        last = values.movedim(1, -1)
        return F.pad(last, (0, -last.shape[-1] % self.m), value=padding).unflatten(-1, (-1, self.m))
