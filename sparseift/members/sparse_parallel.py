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

from ..errors import BudgetError
from ..graph.trace import Trace
from ..surgery.replace import branch, initializer, replace, replaceable, site_of
from ..surgery.resize import fresh_norm, resized_layer


class Parallel(nn.Module):
    """The sum of its branches, which take the same input and give outputs of the same shape."""

    def __init__(self, branches: list[nn.Module]):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, inputs: Tensor) -> Tensor:
        total = self.branches[0](inputs)
        for other in self.branches[1:]:
            total = total + other(inputs)
        return total


def branch_count(sparsity: Fraction) -> int:
    """1 / (1 - s) to the nearest integer, halves up."""
    return int(1 / (1 - sparsity) + Fraction(1, 2))


@dataclass(frozen=True)
class SparseParallel:
    """norm: a norm in every branch instead of one after the sum. activation: the paper's sigma in every branch (the
    authors' ImageNet code); False sums the normed branches as they are (their CIFAR code)."""

    norm: bool = True
    activation: bool = True
    iso_flop: ClassVar[bool] = True

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        count = branch_count(sparsity)
        if count < 2:
            branches = float(1 / (1 - sparsity))
            raise BudgetError(f"sparse_parallel would have {branches:.2f} branches, and fewer than two are none")
        initial = initializer(net, record)
        local = set(replaceable(net, record, eligible))
        masked = []
        for name in eligible:
            if name not in local:
                masked.append(name)
                continue
            site = site_of(net, record, name)
            activation = site.activation if self.activation else None
            moves_norm = self.norm and site.norm is not None
            branches = []
            for _ in range(count):
                norm = None
                if moves_norm:
                    norm = copy.deepcopy(site.norm) if activation is None else fresh_norm(site.norm, site.channels)
                layer = resized_layer(site.layer, initial, alive=activation is not None)
                branches.append(branch(layer, norm, activation))
            replace(net, name, Parallel(branches))
            if moves_norm:
                replace(net, site.norm_name, nn.Identity())
            if activation is not None and site.activation_name and (moves_norm or site.norm is None):
                replace(net, site.activation_name, nn.Identity())
            masked += [f"{name}.branches.{index}.layer" for index in range(count)]
        return masked
