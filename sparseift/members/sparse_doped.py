"""Sparse Doped: a sparse layer beside a dense low-rank one (paper, section 3; Figure 2).

    V^T (U^T z) + sigma(theta^T z),   rank = s Din Dout / (Din + Dout)

U and V stay dense and linear. The authors' code also masks them, so that the layer costs only 1 - s^2 of the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import ClassVar

from torch import Tensor, nn

from ..graph.layers import AnyLayer, ConvTransposed
from ..graph.trace import Trace
from ..surgery.initialization import Initializer
from ..surgery.low_rank import factors, fan_dims, rank_for
from ..surgery.replace import Site, branch
from ..surgery.resize import fresh_norm, resized_layer
from .base import LocalMember, Replacement


class Doped(nn.Module):
    """sparse(x) + low_rank(x)."""

    def __init__(self, sparse: nn.Module, low_rank: nn.Module):
        super().__init__()
        self.sparse = sparse
        self.low_rank = low_rank

    def forward(self, inputs: Tensor) -> Tensor:
        return self.sparse(inputs) + self.low_rank(inputs)


def doped_rank(layer: AnyLayer, sparsity: Fraction) -> int:
    """Return the number of channels between U and V, over all groups, rounded down (authors' code)."""
    return floor(rank_for(layer, sparsity)) * fan_dims(layer)[2]


@dataclass(frozen=True)
class SparseDoped(LocalMember):
    """A sparse layer beside a dense low-rank one.

    With both options False the sum is linear (authors' code). From given weights, the sparse branch starts with those
    of the layer and V at zero, so that a linear sum is the same function.

    Args:
        norm: Add a norm to the sparse branch, of the kind that follows the layer in the network.
        activation: Add a non-linearity to the sparse branch, the paper's sigma: the one that follows the layer.
    """

    norm: bool = True
    activation: bool = True
    resizes: ClassVar[bool] = True
    keeps_with: ClassVar[str] = "member.norm=false and member.activation=false"

    def replacement(self, site: Site, record: Trace, sparsity: Fraction, initial: Initializer) -> Replacement | None:
        layer = site.layer
        if isinstance(layer, ConvTransposed) or not (rank := doped_rank(layer, sparsity)):
            return None
        first, second = factors(layer, rank, initial)
        second.bias = None  # the sparse branch keeps the bias of the layer
        norm = fresh_norm(site.norm, site.channels) if self.norm and site.norm is not None else None
        activation = site.activation if self.activation else None
        if site.keep:
            nn.init.zeros_(second.weight)
        elif activation is not None and not layer.weight.is_meta and not layer.weight.any():
            layer = resized_layer(layer, initial, alive=True)
        return Replacement(Doped(branch(layer, norm, activation), nn.Sequential(first, second)), ["sparse.layer"])
