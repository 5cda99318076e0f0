"""Sparse Parallel: a sum of sparse copies of the layer, each with a non-linearity of its own (paper, section 3;
Figure 2).

    sum_{j=1..k} sigma(theta_j^T z),   k = 1 / (1 - s)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

from ..errors import BudgetError
from ..graph.trace import Trace
from ..surgery.initialization import Initializer
from ..surgery.replace import Site, branch
from ..surgery.resize import fresh_norm, resized_layer
from .base import LocalMember, Replacement


class Parallel(nn.Module):
    """The sum of its branches, which take the same input and return outputs of the same shape."""

    def __init__(self, branches: Sequence[nn.Module]):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, inputs: Tensor) -> Tensor:
        total = self.branches[0](inputs)
        for other in self.branches[1:]:
            total = total + other(inputs)
        return total


def branch_count(sparsity: Fraction) -> int:
    """Return 1 / (1 - s) rounded to the nearest integer, halves up."""
    return int(1 / (1 - sparsity) + Fraction(1, 2))


@dataclass(frozen=True)
class SparseParallel(LocalMember):
    """A sum of sparse copies of the layer.

    Args:
        norm: Replace the norm after the layer by one in every branch.
        activation: Add the paper's sigma to every branch, as the authors' ImageNet code does and their CIFAR code does
            not.
    """

    norm: bool = True
    activation: bool = True

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        if branch_count(sparsity) < 2:
            branches = float(1 / (1 - sparsity))
            raise BudgetError(f"sparse_parallel needs two branches or more; this sparsity gives {branches:.2f}")
        return super().__call__(net, record, eligible, sparsity)

    def replacement(self, site: Site, record: Trace, sparsity: Fraction, initial: Initializer) -> Replacement:
        norm = site.norm if self.norm else None
        activation = site.activation if self.activation else None
        if norm is not None and activation is not None:
            norm = fresh_norm(norm, site.channels)
        branches = [
            branch(resized_layer(site.layer, initial, alive=activation is not None), copy.deepcopy(norm), activation)
            for _ in range(branch_count(sparsity))
        ]
        return Replacement(
            module=Parallel(branches),
            masked=[f"branches.{index}.layer" for index in range(len(branches))],
            with_norm=norm is not None,
            with_activation=activation is not None and (norm is not None or site.norm is None),
        )
