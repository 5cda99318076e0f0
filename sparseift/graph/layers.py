"""The kinds of layers, norms and sums that a trace recognizes."""

from __future__ import annotations

from typing import cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d

ConvTransposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d

AnyLayer = Conv | ConvTransposed | nn.Linear

LAYER_FUNCTIONS = {
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
}  # fmt: skip

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm

InstanceNorm = nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d

LastNorm = nn.LayerNorm | nn.RMSNorm
"""Norms over the last dimensions of a tensor."""

AnyNorm = BatchNorm | InstanceNorm | nn.GroupNorm | LastNorm

NORMS = get_args(AnyNorm)

SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}


def layer_at(net: nn.Module, name: str) -> AnyLayer:
    """Return the convolution or linear with this name."""
    return cast(AnyLayer, net.get_submodule(name))


def stored_weight(module: nn.Module) -> nn.Parameter | None:
    """Return the weight parameter of a module; None if it has none or computes its weight before use."""
    return dict(module.named_parameters(recurse=False)).get("weight")


def layers_by_weight(net: nn.Module) -> dict[int, AnyLayer]:
    """Return the layer of each weight parameter, by id() of the parameter."""
    layers = (module for module in net.modules() if isinstance(module, AnyLayer))
    return {id(layer.weight): layer for layer in layers if stored_weight(layer) is not None}


def channels_of(layer: AnyLayer) -> tuple[int, int, int]:
    """Return (inputs, outputs, groups) of a convolution or linear."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features, 1
    return layer.in_channels, layer.out_channels, layer.groups
