"""The two factors of a layer: U with the layer's kernel, stride and padding, and a pointwise V."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import torch
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


@torch.no_grad()
def decompose_(layer: Conv | nn.Linear, first: AnyLayer, second: AnyLayer) -> None:
    """Set the weights of U and V so that V U is the weight of the layer, or the nearest one of their rank.

    Channels beyond the rank of the weight keep their U and get a V of zero.
    """
    if layer.weight.is_meta:
        return
    din, dout, groups = fan_dims(layer)
    left, values, right = torch.linalg.svd(layer.weight.double().reshape(groups, dout, din), full_matrices=False)
    u, v = first.weight.reshape(groups, -1, din), torch.zeros_like(second.weight).reshape(groups, dout, -1)
    rank = min(u.shape[1], values.shape[1])
    root = values[:, :rank].sqrt()
    u[:, :rank] = (root[:, :, None] * right[:, :rank]).to(u.dtype)
    v[:, :, :rank] = (left[:, :, :rank] * root[:, None]).to(v.dtype)
    first.weight.copy_(u.reshape(first.weight.shape))
    second.weight.copy_(v.reshape(second.weight.shape))


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
