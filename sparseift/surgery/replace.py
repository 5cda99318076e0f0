"""Replace layers of a network."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from typing import cast

from torch import nn

from ..graph.copies import carry_numbers, hooks_of
from ..graph.layers import AnyLayer, AnyNorm, channels_of, layer_at, stored_weight
from ..graph.trace import Trace, is_within
from .initialization import Initializer
from .transplant import own_tensors


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
    sites = [_site(net, mode, name, keep) for mode in record.modes if name in mode.layers]
    alone = all(site.activation_name == sites[0].activation_name for site in sites)
    return sites[0] if alone else replace_fields(sites[0], activation_name=None)


def _site(net: nn.Module, record: Trace, name: str, keep: bool = False) -> Site:
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


def irreplaceable(net: nn.Module, record: Trace, eligible: Sequence[str], resized: bool = False) -> dict[str, str]:
    """Return the eligible layers that no other module can stand for, each with the reason.

    Args:
        resized: Whether that module has copies of the layer with another number of channels.
    """
    holders = Counter(id(weight) for module in net.modules() for weight in module.parameters(recurse=False))
    found = {}
    for name in eligible:
        if holders[id(stored_weight(net.get_submodule(name)))] > 1:
            found[name] = "it shares its weight"
        elif resized and (more := {key for key, _ in own_tensors(net.get_submodule(name))} - {"weight", "bias"}):
            found[name] = f"it has {min(more)} besides its weight and bias"
        elif reason := _used_in_other_ways(net, record, name):
            found[name] = reason
    return found


def _used_in_other_ways(net: nn.Module, record: Trace, name: str) -> str | None:
    """Why a layer and what follows it are more than a function of one tensor, in evaluation or training mode."""
    modes = [mode for mode in record.modes if name in mode.layers]
    follows = [_following(mode, name) for mode in modes]
    for mode in modes:
        site = _site(net, mode, name)
        parts = [part for part in (name, site.norm_name, site.activation_name) if part is not None]
        if read := next((part for part in parts if part in mode.read_outside), None):
            return f"other code reads {'its parameters' if read == name else f'the parameters of {read}'}"
        if name in mode.more_arguments:
            return "it is called with more than its input"
        if hooked := next((part for part in parts if hooks_of(net.get_submodule(part))), None):
            return f"{hooked} has hooks"
    return None if all(other == follows[0] for other in follows) else "its output is used in another way in training"


def _following(record: Trace, name: str) -> tuple[str | None, str, set[str]]:
    """The norm, the activation and the layers that follow a layer, to compare them with another run."""
    return record.norm_after(name), str(record.activation_after(name)[0]), record.read_before_activation(name)


def replace(net: nn.Module, name: str, module: nn.Module) -> None:
    """Replace a module under all its names. The new one has the numbers of the old one, such as `in_features`."""
    old = net.get_submodule(name)
    module.train(old.training)
    carry_numbers(old, module)
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
