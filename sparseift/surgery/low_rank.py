"""The two factors of a layer: U with the layer's kernel, stride and padding, V pointwise. Ranks are exact
rationals.
"""

from __future__ import annotations

from fractions import Fraction
from math import prod

from torch import nn

from ..graph.layers import CONVS
from .initialization import Initializer
from .resize import channels_of, resized_layer


def fan_dims(layer: nn.Module) -> tuple[int, int, int]:
    """(Din, Dout, groups) of one group: Din = q^2 Ci / g for a convolution (paper, section 3)."""
    inputs, outputs, groups = channels_of(layer)
    return inputs // groups * prod(getattr(layer, "kernel_size", ())), outputs // groups, groups


def factors(layer: nn.Module, rank: int, initial: Initializer) -> tuple[nn.Module, nn.Module]:
    """U (inputs -> rank) without bias and V (rank -> outputs) with the bias of the layer. rank: over all groups."""
    _, outputs, groups = channels_of(layer)
    first = resized_layer(layer, initial, outputs=rank, alive=True)
    first.bias = None
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        second = nn.Linear(rank, outputs, bias, device=layer.weight.device, dtype=layer.weight.dtype)
    else:
        kind = next(kind for kind in CONVS if isinstance(layer, kind))
        second = kind(rank, outputs, 1, groups=groups, bias=bias, device=layer.weight.device, dtype=layer.weight.dtype)
    second.weight = initial.weight(layer.weight, tuple(second.weight.shape))
    if bias:
        second.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=layer.bias.requires_grad)
    return first, second


def rank_for(layer: nn.Module, share: Fraction) -> Fraction:
    """The rank, per group and not rounded, at which U and V have `share` times the weights of the layer."""
    din, dout, _ = fan_dims(layer)
    return share * din * dout / (din + dout)
