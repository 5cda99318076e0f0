"""The same layer or norm with other numbers of channels. Everything else about it stays: class, stride, padding,
options.
"""

from __future__ import annotations

import copy
from math import gcd

from torch import nn

from ..graph.layers import TRANSPOSED
from .initialization import Initializer, stretched
from .transplant import own_tensors


def weight_shape(layer: nn.Module, inputs: int, outputs: int, groups: int) -> tuple[int, ...]:
    if isinstance(layer, nn.Linear):
        return outputs, inputs
    if isinstance(layer, TRANSPOSED):
        return inputs, outputs // groups, *layer.kernel_size
    return outputs, inputs // groups, *layer.kernel_size


def channels_of(layer: nn.Module) -> tuple[int, int, int]:
    """(inputs, outputs, groups) of a convolution or linear."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features, 1
    return layer.in_channels, layer.out_channels, layer.groups


def resize_layer_(layer: nn.Module, inputs: int, outputs: int, groups: int, initial: Initializer) -> None:
    """Give a convolution or linear other channel numbers, in place."""
    shape = weight_shape(layer, inputs, outputs, groups)
    if tuple(layer.weight.shape) != shape:
        layer.weight = initial.weight(layer.weight, shape)
    if layer.bias is not None and layer.bias.numel() != outputs:
        layer.bias = stretched(layer.bias, outputs)
    if isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = inputs, outputs
    else:
        layer.in_channels, layer.out_channels, layer.groups = inputs, outputs, groups


def resized_layer(layer: nn.Module, initial: Initializer, outputs: int | None = None, alive: bool = False) -> nn.Module:
    """A copy of a layer with newly drawn weights and, where given, another number of outputs. alive: not zero, even
    where the network initialises the layer to zero."""
    inputs, old_outputs, groups = channels_of(layer)
    outputs = outputs or old_outputs
    memo = {id(layer.weight): initial.weight(layer.weight, weight_shape(layer, inputs, outputs, groups), alive)}
    new = copy.deepcopy(layer, memo)
    resize_layer_(new, inputs, outputs, groups, initial)
    return new


def norm_channels(norm: nn.Module) -> int:
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels
    if isinstance(norm, nn.LayerNorm):
        return norm.normalized_shape[0]
    return norm.num_features


def resize_norm_(norm: nn.Module, channels: int) -> None:
    """Give a norm another number of channels, in place."""
    if norm_channels(norm) == channels:
        return
    for name, tensor in own_tensors(norm):
        if tensor.dim():
            setattr(norm, name, stretched(tensor, channels))
    if isinstance(norm, nn.GroupNorm):
        per_channel = norm.num_groups == norm.num_channels
        norm.num_groups = channels if per_channel else gcd(channels, norm.num_groups)
        norm.num_channels = channels
    elif isinstance(norm, nn.LayerNorm):
        norm.normalized_shape = (channels,)
    else:
        norm.num_features = channels


def fresh_norm(norm: nn.Module, channels: int) -> nn.Module:
    """A copy of a norm with `channels` channels and its default scale of 1: in front of an activation, a scale that
    the network initialises to zero would pass neither signal nor gradient."""
    new = copy.deepcopy(norm)
    resize_norm_(new, channels)
    new.reset_parameters()
    return new
