"""Replace layers of a network."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from ..graph.layers import AnyLayer, AnyNorm, channels_of, layer_at, stored_weight
from ..graph.trace import Trace, is_within
from .initialization import Initializer


@dataclass(frozen=True)
class Site:
    """A layer, with the norm and the non-linearity that follow it in the network.

    Attributes:
        norm: The norm that alone reads the layer, or None.
        carried: Whether the norm applies the non-linearity itself.
        activation: A copy of the non-linearity before the next layer; None if there is none, or if the norm applies it.
        activation_name: Name of the module of the non-linearity, if only this layer uses it.
        keep: Whether the replacement of the layer starts from its weights.
    """

    name: str
    layer: AnyLayer
    norm_name: str | None
    norm: AnyNorm | None
    carried: bool
    activation_name: str | None
    activation: nn.Module | None
    keep: bool = False

    @property
    def channels(self) -> int:
        """Output channels of the layer."""
        return channels_of(self.layer)[1]


def site_of(net: nn.Module, record: Trace, name: str, keep: bool = False) -> Site:
    """Return a layer with the norm and the non-linearity that follow it.

    Args:
        net: The network, in which other layers may have been replaced.
        record: The trace of the network before any replacement.
        keep: Whether the replacement of the layer starts from its weights.
    """
    norm_name = record.norm_after(name)
    activation, activation_name = record.activation_after(name)
    carried = None not in (activation_name, norm_name) and is_within(str(activation_name), str(norm_name))
    if carried:
        activation, activation_name = None, None
    return Site(
        name=name,
        layer=layer_at(net, name),
        norm_name=norm_name,
        norm=cast(AnyNorm, net.get_submodule(norm_name)) if norm_name else None,
        carried=carried,
        activation_name=activation_name,
        activation=activation,
        keep=keep,
    )


def replaceable(net: nn.Module, record: Trace, eligible: Sequence[str]) -> list[str]:
    """Return the eligible layers that a local member can replace.

    Projection shortcuts (authors' code), layers that the network does not call as modules, and layers that share their
    weight are left out.
    """
    holders = Counter(id(weight) for module in net.modules() for weight in module.parameters(recurse=False))
    return [
        name
        for name in eligible
        if not record.is_projection(name)
        and not record.layers[name].functional
        and holders[id(stored_weight(net.get_submodule(name)))] == 1
    ]


def replace(net: nn.Module, name: str, module: nn.Module) -> None:
    """Replace a module under all its names."""
    old = net.get_submodule(name)
    module.train(old.training)
    for place, child in list(net.named_modules(remove_duplicate=False)):
        if child is old:
            parent, _, key = place.rpartition(".")
            setattr(net.get_submodule(parent), key, module)


def initializer(net: nn.Module, record: Trace) -> Initializer:
    """Return an initializer that draws weights as the layers of a network were drawn."""
    return Initializer(layer_at(net, name) for name in record.layers)


def branch(layer: nn.Module, norm: nn.Module | None, activation: nn.Module | None) -> nn.Sequential:
    """Return a layer followed by a norm and a copy of an activation, if they are given."""
    parts = nn.Sequential()
    parts.add_module("layer", layer)
    if norm is not None:
        parts.add_module("norm", norm)
    if activation is not None:
        parts.add_module("activation", copy.deepcopy(activation))
    return parts
