"""Layers and norms with other numbers of channels. Class, stride, padding and options stay."""

from __future__ import annotations

import copy
from math import gcd

from torch import nn

from ..graph.layers import AnyLayer, AnyNorm, ConvTransposed, LastNorm, channels_of
from .initialization import Initializer, stretched
from .transplant import own_tensors


def weight_shape(layer: AnyLayer, inputs: int, outputs: int, groups: int) -> tuple[int, ...]:
    """Return the shape of the weight of a layer with these numbers of channels."""
    if isinstance(layer, nn.Linear):
        return outputs, inputs
    if isinstance(layer, ConvTransposed):
        return inputs, outputs // groups, *layer.kernel_size
    return outputs, inputs // groups, *layer.kernel_size


def resize_layer_(layer: AnyLayer, inputs: int, outputs: int, groups: int, initial: Initializer) -> None:
    """Give a convolution or linear other numbers of channels, in place."""
    shape = weight_shape(layer, inputs, outputs, groups)
    if tuple(layer.weight.shape) != shape:
        layer.weight = initial.weight(layer.weight, shape)
    if layer.bias is not None and layer.bias.numel() != outputs:
        layer.bias = stretched(layer.bias, outputs)
    if isinstance(layer, nn.Linear):
        layer.in_features, layer.out_features = inputs, outputs
    else:
        layer.in_channels, layer.out_channels, layer.groups = inputs, outputs, groups


def resized_layer(layer: AnyLayer, initial: Initializer, outputs: int | None = None, alive: bool = False) -> AnyLayer:
    """Return a copy of a layer with newly drawn weights.

    Args:
        outputs: The number of output channels, if it is to change.
        alive: Draw weights other than zero even if the network initializes the layer to zero.
    """
    inputs, old_outputs, groups = channels_of(layer)
    outputs = outputs or old_outputs
    memo = {id(layer.weight): initial.weight(layer.weight, weight_shape(layer, inputs, outputs, groups), alive)}
    new = copy.deepcopy(layer, memo)
    resize_layer_(new, inputs, outputs, groups, initial)
    return new


def resized_activation(activation: nn.Module, channels: int, new_channels: int) -> nn.Module:
    """Return a copy of an activation whose parameters per channel, as those of nn.PReLU, are repeated in order."""
    activation = copy.deepcopy(activation)
    for module in activation.modules():
        for key, tensor in own_tensors(module):
            if tensor.dim() and channels in tensor.shape and channels > 1:
                setattr(module, key, stretched(tensor, new_channels, list(tensor.shape).index(channels)))
                vars(module).update({name: new_channels for name, value in vars(module).items() if value == channels})
    return activation


def norm_channels(norm: AnyNorm) -> int:
    """Return the number of channels of a norm."""
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels
    if isinstance(norm, LastNorm):
        return norm.normalized_shape[0]
    return norm.num_features


def resize_norm_(norm: AnyNorm, channels: int) -> None:
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
    elif isinstance(norm, LastNorm):
        norm.normalized_shape = (channels,)
    else:
        norm.num_features = channels


def fresh_norm(norm: AnyNorm, channels: int) -> AnyNorm:
    """Return a newly initialized copy of a norm with `channels` channels.

    If the network initializes the scale to zero, the copy would pass neither signal nor gradient to an activation.
    """
    new = copy.deepcopy(norm)
    resize_norm_(new, channels)
    new.reset_parameters()
    return new
