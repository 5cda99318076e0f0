"""Sparse Factorized: two sparse factors with a non-linearity between them (paper, section 3; Figure 2).

V^T sigma(U^T z),   rank = Din Dout / ((Din + Dout) (1 - s))
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar

from torch import Tensor, nn

from ..graph.layers import AnyLayer, ConvTransposed
from ..graph.trace import Trace
from ..surgery.initialization import Initializer
from ..surgery.low_rank import decompose_, factors, fan_dims, rank_for
from ..surgery.replace import Site, branch
from ..surgery.resize import fresh_norm, resized_activation
from .base import LocalMember, Replacement


class Factorized(nn.Module):
    """second(first(x)); the first factor ends in a norm and a non-linearity."""

    def __init__(self, first: nn.Sequential, second: nn.Module):
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs))


def factorized_rank(layer: AnyLayer, sparsity: Fraction) -> int:
    """Return the number of channels between the factors, over all groups, rounded up (authors' code)."""
    return ceil(rank_for(layer, 1 / (1 - sparsity))) * fan_dims(layer)[2]


@dataclass(frozen=True)
class SparseFactorized(LocalMember):
    """Two sparse factors with a non-linearity between them.

    With both options False the factors are linear (`uv_layer=linear` of the authors' code). From given weights, the
    factors start as the singular value decomposition of the layer, so that linear factors whose rank suffices are the
    same function.

    Args:
        norm: Add a norm between the factors, of the kind that follows the layer in the network.
        activation: Add a non-linearity between the factors: the one that follows the layer, or else the most frequent
            one of the network.
    """

    norm: bool = True
    activation: bool = True
    resizes: ClassVar[bool] = True
    keeps_with: ClassVar[str] = "member.norm=false, member.activation=false and a sparsity of 0.5 or more"

    def replacement(self, site: Site, record: Trace, sparsity: Fraction, initial: Initializer) -> Replacement | None:
        if isinstance(site.layer, ConvTransposed):
            return None
        rank = factorized_rank(site.layer, sparsity)
        first, second = factors(site.layer, rank, initial)
        if site.keep:
            decompose_(site.layer, first, second)
        norm = fresh_norm(site.norm, rank) if self.norm and site.norm is not None else None
        carried = norm is not None and site.carried
        activation = None if carried or not self.activation else site.activation or record.usual_activation
        if activation is not None:
            activation = resized_activation(activation, site.channels, rank)
        return Replacement(Factorized(branch(first, norm, activation), second), ["first.layer", "second"])
