"""Sparse Parallel: a sum of sparse copies of the layer, each with a non-linearity of its own (paper, section 3;
Figure 2).

    sum_{j=1..k} sigma(theta_j^T z),   k = 1 / (1 - s)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from torch import Tensor, nn

from ..common.checks import number
from ..errors import BudgetError
from ..graph.trace import Trace
from ..surgery.initialization import Initializer
from ..surgery.replace import Site, branch
from ..surgery.resize import fresh_norm, resized_layer
from .base import LocalMember, Replacement


class Parallel(nn.Module):
    """The sum of its branches, which take the same input and return outputs of the same shape, times a constant."""

    def __init__(self, branches: Sequence[nn.Module], scale: float = 1.0):
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        total = self.branches[0](inputs)
        for other in self.branches[1:]:
            total = total + other(inputs)
        return total if self.scale == 1 else total * self.scale


def branch_count(sparsity: Fraction) -> int:
    """Return 1 / (1 - s) rounded to the nearest integer, halves up."""
    return int(1 / (1 - sparsity) + Fraction(1, 2))


@dataclass(frozen=True)
class SparseParallel(LocalMember):
    """A sum of sparse copies of the layer.

    From given weights, every branch starts as a copy of the layer and its norm, and the sum is multiplied by 1/k. This
    is the same function if the branches have no activation, or if only the layer uses the activation.

    Args:
        norm: Replace the norm after the layer by one in every branch.
        activation: Add the paper's sigma to every branch, as the authors' ImageNet code does and their CIFAR code does
            not.
        branch_scale: Scale of each branch at the start, in (0, 1]: the weight of its norm, or a factor of the sum if
            the branches have no norm with a weight. Default: 1/k for k branches with an activation, whose outputs would
            otherwise add up to k times those of the dense network; 1 (authors' code) for other branches.
    """

    norm: bool = True
    activation: bool = True
    branch_scale: float | None = None

    def __post_init__(self) -> None:
        if self.branch_scale is not None:
            number("member.branch_scale", self.branch_scale, 0, 1, open_at="(")

    keeps_with: ClassVar[str] = "member.activation=false and member.branch_scale=null"

    def __call__(
        self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction, keep: bool = False
    ) -> list[str]:
        if branch_count(sparsity) < 2:
            branches = float(1 / (1 - sparsity))
            raise BudgetError(f"sparse_parallel needs two branches or more; this sparsity gives {branches:.2f}")
        return super().__call__(net, record, eligible, sparsity, keep)

    def replacement(self, site: Site, record: Trace, sparsity: Fraction, initial: Initializer) -> Replacement:
        norm = site.norm if self.norm else None
        activation = site.activation if self.activation else None
        activated = activation is not None or (norm is not None and site.carried)
        normed_sum = norm is None and site.norm is not None
        count = branch_count(sparsity)
        scale = self.branch_scale or (1 / count if site.keep or (activated and not normed_sum) else 1.0)
        if norm is not None and not site.keep:
            norm = fresh_norm(norm, site.channels) if activated else copy.deepcopy(norm)
            if norm.weight is not None:
                norm.weight.data.mul_(scale)
                scale = 1.0

        def layer() -> nn.Module:
            alive = activation is not None
            return copy.deepcopy(site.layer) if site.keep else resized_layer(site.layer, initial, alive=alive)

        branches = [branch(layer(), copy.deepcopy(norm), activation) for _ in range(count)]
        return Replacement(
            module=Parallel(branches, scale),
            masked=[f"branches.{index}.layer" for index in range(count)],
            with_norm=norm is not None,
            with_activation=activation is not None and not normed_sum,
        )
