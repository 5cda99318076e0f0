"""The two factors of a layer: U with the layer's kernel, stride and padding, and a pointwise V."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from torch import nn

from ..graph.layers import AnyLayer, Conv, channels_of
from .initialization import Initializer
from .resize import resized_layer


def fan_dims(layer: AnyLayer) -> tuple[int, int, int]:
    """Return (Din, Dout, groups) of one group; Din = q^2 Ci / g for a convolution (paper, section 3)."""
    inputs, outputs, groups = channels_of(layer)
    kernel = () if isinstance(layer, nn.Linear) else layer.kernel_size
    return inputs // groups * prod(kernel), outputs // groups, groups


def factors(layer: Conv | nn.Linear, rank: int, initial: Initializer) -> tuple[AnyLayer, AnyLayer]:
    """Return U (inputs -> rank) without bias, and V (rank -> outputs) with the bias of the layer.

    Args:
        rank: Channels between the factors, over all groups.
    """
    first = resized_layer(layer, initial, outputs=rank, alive=True)
    first.bias = None
    second = _pointwise(layer, rank)
    second.weight = initial.weight(layer.weight, tuple(second.weight.shape))
    if layer.bias is not None:
        second.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=layer.bias.requires_grad)
    return first, second


def rank_for(layer: AnyLayer, share: Fraction) -> Fraction:
    """Return the rank per group at which U and V have `share` times the weights of the layer, not rounded."""
    din, dout, _ = fan_dims(layer)
    return share * din * dout / (din + dout)


def _pointwise(layer: Conv | nn.Linear, inputs: int) -> Conv | nn.Linear:
    _, outputs, groups = channels_of(layer)
    bias, weight = layer.bias is not None, layer.weight
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias, device=weight.device, dtype=weight.dtype)
    kind = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(layer, kind))
    return kind(inputs, outputs, 1, groups=groups, bias=bias, device=weight.device, dtype=weight.dtype)
