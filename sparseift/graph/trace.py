"""The trace of a network: its torch function calls in one forward pass and the tensors that flow between them.

From it follow the layers in execution order, how often each of their weights is used, the norm and the activation that
follow a layer, and which layers are projection shortcuts. `recorder.trace` makes one.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from .layers import ACTIVATIONS, SUMS, AnyLayer, AnyNorm, channels_of


@dataclass(frozen=True)
class Call:
    """A torch function call: the values that it read and wrote, and the innermost module that was running."""

    func: Callable
    module: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: tuple[tuple, dict] | None = None  # further arguments, of activations only


class Function(nn.Module):
    """A module for an activation that the network calls as a function, with the same options."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict[str, Any]):
        super().__init__()
        self.function, self.args, self.kwargs = function, args, kwargs

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs, *self.args, **self.kwargs)

    def extra_repr(self) -> str:
        return f"{self.function.__name__}, {self.args}, {self.kwargs}"


@dataclass
class Layer:
    """A convolution or linear module whose weight was used.

    Attributes:
        positions: How often each weight is used for one sample.
        functional: The network's own code reads the weight, outside of the module.
        derived: The layer computes the weight that it uses from its parameter (weight standardisation), so zeros in the
            parameter do not stay zero.
    """

    name: str
    module: AnyLayer
    positions: int = 0
    functional: bool = False
    derived: bool = False
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    @property
    def depthwise(self) -> bool:
        inputs, _, groups = channels_of(self.module)
        return groups > 1 and groups == inputs

    @property
    def pointwise(self) -> bool:
        return all(size == 1 for size in getattr(self.module, "kernel_size", ()))


class Trace:
    """The record of one forward pass of `net` on `example`.

    Attributes:
        training: Whether the network ran in training mode.
        ran: How often each module ran.
        module_outputs: The values that each module returned.
    """

    def __init__(self, net: nn.Module, example: tuple[tuple, dict], training: bool = False):
        self.net = net
        self.example = example
        self.training = training
        self.calls: list[Call] = []
        self.layers: dict[str, Layer] = {}
        self.ran: dict[str, int] = defaultdict(int)
        self.module_outputs: dict[str, list[int]] = defaultdict(list)
        self.network_outputs: set[int] = set()
        self.output_shapes: list[torch.Size] = []

    @cached_property
    def consumers(self) -> dict[int, list[Call]]:
        table: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            for value in set(call.inputs):
                table[value].append(call)
        return table

    @cached_property
    def producer(self) -> dict[int, Call]:
        return {value: call for call in self.calls for value in call.outputs}

    def is_layer(self, call: Call) -> bool:
        return call.module in self.layers

    def norm_after(self, name: str) -> str | None:
        """Return the norm module that alone reads the output of a layer, if both run once."""
        return self._sole_successor(name, _is_norm)

    def activation_after(self, name: str) -> tuple[nn.Module | None, str | None]:
        """Return the non-linearity that the output of a layer meets before the next layer, and its module's name.

        Sums, norms, dropout and reshaping in between are skipped: the second convolution of a residual block ends in
        the activation after the addition.

        Returns:
            The non-linearity, None if there is none, and the name of the module that applies it, None unless the module
            is the layer's norm or in it, or alone reads the layer or its norm and runs once.
        """
        seen: set[int] = set()
        frontier = list(self.layers[name].outputs)
        while frontier:
            value = frontier.pop(0)
            for call in self.consumers[value]:
                if call.func in ACTIVATIONS:
                    within = f"{call.module}.".startswith(f"{self.norm_after(name)}.")
                    return self._activation_module(call), call.module if within else self._direct_activation(name)
                if not self.is_layer(call):
                    frontier += [v for v in call.outputs if v not in seen]
                    seen.update(call.outputs)
        return None, None

    @cached_property
    def usual_activation(self) -> nn.Module:
        """The non-linearity that most layers of the network meet; ReLU if none meets one."""
        found = [activation for name in self.layers if (activation := self.activation_after(name)[0]) is not None]
        counts = Counter(map(str, found))
        return max(found, key=lambda activation: counts[str(activation)], default=nn.ReLU())

    def is_projection(self, name: str) -> bool:
        """Return whether a pointwise layer is the shortcut of a residual block.

        Its output is added to a tensor that comes from the same input through other layers.
        """
        layer = self.layers[name]
        if not layer.pointwise:
            return False
        through_layers = self._reached_through_layers(self._sources(layer.inputs), skip=name)
        for value in self._forward_to_sums(layer.outputs):
            for call in self.consumers[value]:
                if call.func in SUMS and any(v in through_layers for v in call.inputs if v != value):
                    return True
        return False

    @cached_property
    def output_layers(self) -> set[str]:
        """The layers whose output reaches an output of the network without another layer in between."""
        found: set[str] = set()
        frontier, seen = list(self.network_outputs), set(self.network_outputs)
        while frontier:
            call = self.producer.get(frontier.pop())
            if call is None:
                continue
            if self.is_layer(call):
                found.add(call.module)
                continue
            frontier += [v for v in call.inputs if v not in seen]
            seen.update(call.inputs)
        return found

    def _sole_successor(self, name: str, wanted: Callable[[nn.Module], bool]) -> str | None:
        outputs = self.module_outputs[name]
        if self.ran[name] != 1 or len(outputs) != 1 or outputs[0] in self.network_outputs:
            return None
        readers = {call.module for call in self.consumers[outputs[0]]}
        if len(readers) != 1:
            return None
        (reader,) = readers
        return reader if self.ran[reader] == 1 and wanted(self.net.get_submodule(reader)) else None

    def _direct_activation(self, name: str) -> str | None:
        before = self.norm_after(name) or name
        return self._sole_successor(before, _is_activation)

    def _activation_module(self, call: Call) -> nn.Module:
        owner = self.net.get_submodule(call.module)
        return copy.deepcopy(owner) if _is_activation(owner) else Function(call.func, *(call.options or ((), {})))

    def _sources(self, values: list[int]) -> set[int]:
        """The values and those that they come from by functions of one tensor (pooling, norms, activations)."""
        found = set(values)
        frontier = list(values)
        while frontier:
            call = self.producer.get(frontier.pop())
            if call and not self.is_layer(call) and len(call.inputs) == 1 and call.inputs[0] not in found:
                found.add(call.inputs[0])
                frontier.append(call.inputs[0])
        return found

    def _reached_through_layers(self, sources: set[int], skip: str) -> set[int]:
        plain, layered = set(sources), set[int]()
        for call in self.calls:  # recorded in execution order, so one pass is enough
            if call.module == skip:
                continue
            if layered.intersection(call.inputs) or (self.is_layer(call) and plain.intersection(call.inputs)):
                layered.update(call.outputs)
            elif plain.intersection(call.inputs):
                plain.update(call.outputs)
        return layered

    def _forward_to_sums(self, values: list[int]) -> set[int]:
        found = set(values)
        frontier = list(values)
        while frontier:
            for call in self.consumers[frontier.pop()]:
                if not self.is_layer(call) and call.func not in SUMS:
                    frontier += [v for v in call.outputs if v not in found]
                    found.update(call.outputs)
        return found


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, AnyNorm) and len(getattr(module, "normalized_shape", (1,))) == 1


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == nn.ReLU.__module__
