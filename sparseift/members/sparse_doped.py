"""Sparse Doped: a sparse layer beside a dense low-rank one (paper, section 3; Figure 2).

    V^T (U^T z) + sigma(theta^T z),   rank = s Din Dout / (Din + Dout)

U and V stay dense and linear: with them masked as well, as the authors' code does, the layer costs only 1 - s^2 of
the budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar

from torch import Tensor, nn

from ..graph.layers import ConvTransposed
from ..graph.trace import Trace
from ..surgery.low_rank import factors, fan_dims, rank_for
from ..surgery.replace import branch, initializer, replace, replaceable, site_of
from ..surgery.resize import fresh_norm, resized_layer


class Doped(nn.Module):
    """sparse(x) + low_rank(x)."""

    def __init__(self, sparse: nn.Module, low_rank: nn.Module):
        super().__init__()
        self.sparse = sparse
        self.low_rank = low_rank

    def forward(self, inputs: Tensor) -> Tensor:
        return self.sparse(inputs) + self.low_rank(inputs)


def doped_rank(layer: nn.Module, sparsity: Fraction) -> int:
    """Channels between the dense factors, over all groups, rounded down (authors' code)."""
    return floor(rank_for(layer, sparsity)) * fan_dims(layer)[2]


@dataclass(frozen=True)
class SparseDoped:
    """norm, activation: the paper's sigma on the sparse branch, as the norm and the non-linearity that the layer
    meets in the network. With both False the sum is linear and the network's own norm and activation follow it
    (authors' code)."""

    norm: bool = True
    activation: bool = True
    iso_flop: ClassVar[bool] = True

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        initial = initializer(net, record)
        local = set(replaceable(net, record, eligible))
        masked = []
        for name in eligible:
            site = site_of(net, record, name)
            rank = 0 if isinstance(site.layer, ConvTransposed) else doped_rank(site.layer, sparsity)
            if name not in local or rank == 0:
                masked.append(name)
                continue
            first, second = factors(site.layer, rank, initial)
            second.bias = None  # the sparse branch keeps the bias of the layer
            norm = fresh_norm(site.norm, site.channels) if self.norm and site.norm is not None else None
            activation = site.activation if self.activation else None
            layer = site.layer
            if activation is not None and not layer.weight.is_meta and not layer.weight.any():
                layer = resized_layer(site.layer, initial, alive=True)
            replace(net, name, Doped(branch(layer, norm, activation), nn.Sequential(first, second)))
            masked.append(f"{name}.sparse.layer")
        return masked
