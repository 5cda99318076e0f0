"""Sparse Factorized: two sparse factors with a non-linearity between them (paper, section 3; Figure 2).

V^T sigma(U^T z),   rank = Din Dout / ((Din + Dout) (1 - s))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import ClassVar

from torch import nn

from ..graph.layers import ConvTransposed
from ..graph.trace import Trace
from ..surgery.low_rank import factors, fan_dims, rank_for
from ..surgery.replace import branch, initializer, replace, replaceable, site_of
from ..surgery.resize import fresh_norm


class Factorized(nn.Module):
    """second(between(first(x))): two factors, and the non-linearity block after the first."""

    def __init__(self, first: nn.Sequential, second: nn.Module):
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, inputs):
        return self.second(self.first(inputs))


def factorized_rank(layer: nn.Module, sparsity: Fraction) -> int:
    """Channels between the factors, over all groups, rounded up (authors' code)."""
    return ceil(rank_for(layer, 1 / (1 - sparsity))) * fan_dims(layer)[2]


@dataclass(frozen=True)
class SparseFactorized:
    """norm: a norm between the factors, of the kind that follows the layer in the network. activation: the
    non-linearity between the factors; the one that the layer ends in, or else the one that the network uses most.
    With both False the factors are linear (`uv_layer=linear` of the authors' code)."""

    norm: bool = True
    activation: bool = True
    iso_flop: ClassVar[bool] = True

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        initial = initializer(net, record)
        usual = usual_activation(record)
        local = set(replaceable(net, record, eligible))
        masked = []
        for name in eligible:
            site = site_of(net, record, name)
            if name not in local or isinstance(site.layer, ConvTransposed):
                masked.append(name)
                continue
            rank = factorized_rank(site.layer, sparsity)
            first, second = factors(site.layer, rank, initial)
            norm = fresh_norm(site.norm, rank) if self.norm and site.norm is not None else None
            carried = norm is not None and site.carried
            activation = None if carried or not self.activation else site.activation or usual
            replace(net, name, Factorized(branch(first, norm, activation), second))
            masked += [f"{name}.first.layer", f"{name}.second"]
        return masked


def usual_activation(record: Trace) -> nn.Module:
    """The activation that most layers of the network end in; ReLU where none does."""
    found = [activation for name in record.layers if (activation := record.activation_after(name)[0]) is not None]
    if not found:
        return nn.ReLU()
    usual, _ = Counter(map(str, found)).most_common(1)[0]
    return next(activation for activation in found if str(activation) == usual)
