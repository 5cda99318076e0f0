"""Replace a layer of a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ..graph.trace import Trace
from .initialization import Initializer


@dataclass(frozen=True)
class Site:
    """A layer that a local member replaces, with what follows it in the network.

    norm: the norm that alone reads the layer. carried: whether the norm applies the non-linearity itself. activation:
    a copy of the non-linearity that the output meets; None where there is none before the next layer, or where the
    norm carries it. activation_name: its module, if it directly follows.
    """

    name: str
    layer: nn.Module
    norm_name: str | None
    norm: nn.Module | None
    carried: bool
    activation_name: str | None
    activation: nn.Module | None

    @property
    def channels(self) -> int:
        return self.layer.out_features if isinstance(self.layer, nn.Linear) else self.layer.out_channels


def site_of(net: nn.Module, record: Trace, name: str) -> Site:
    norm_name = record.norm_after(name)
    activation, activation_name = record.activation_after(name)
    carried = activation_name is not None and f"{activation_name}.".startswith(f"{norm_name}.")
    if carried:
        activation, activation_name = None, None
    return Site(
        name=name,
        layer=net.get_submodule(name),
        norm_name=norm_name,
        norm=net.get_submodule(norm_name) if norm_name else None,
        carried=carried,
        activation_name=activation_name,
        activation=activation,
    )


def replaceable(net: nn.Module, record: Trace, eligible: Sequence[str]) -> list[str]:
    """The eligible layers that a local member replaces: not projection shortcuts (authors' code), nor layers that the
    network does not call as modules or whose weight another module holds too; these are masked as they are."""
    holders: dict[int, int] = {}
    for module in net.modules():
        for parameter in module.parameters(recurse=False):
            holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    return [
        name
        for name in eligible
        if not record.is_projection(name)
        and not record.layers[name].functional
        and holders.get(id(net.get_submodule(name)._parameters.get("weight"))) == 1
    ]


def replace(net: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place of the module `name`, and in every other place that holds the same one."""
    old = net.get_submodule(name)
    module.train(old.training)
    for parent in list(net.modules()):
        for key, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, key, module)


def initializer(net: nn.Module, record: Trace) -> Initializer:
    return Initializer(net.get_submodule(name) for name in record.layers)


def branch(layer: nn.Module, norm: nn.Module | None, activation: nn.Module | None) -> nn.Sequential:
    """A layer with its own non-linearity block, as far as there is one."""
    parts = nn.Sequential()
    parts.add_module("layer", layer)
    if norm is not None:
        parts.add_module("norm", norm)
    if activation is not None:
        parts.add_module("activation", copy.deepcopy(activation))
    return parts
