"""The trace of a network: its torch function calls in one forward pass and the tensors that flow between them.

`recorder.trace` makes one.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .calls import Call
from .formulas import Found, function_of
from .layers import SUMS, AnyLayer, AnyNorm, channels_of


class Function(nn.Module):
    """Module of an activation that the network calls as a function."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict[str, Any]):
        super().__init__()
        self.function, self.args, self.kwargs = function, args, kwargs

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs, *self.args, **self.kwargs)

    def extra_repr(self) -> str:
        return f"{self.function.__name__}, {self.args}, {self.kwargs}"


PARTS = {"getitem", "narrow", "select", "index_select"}


@dataclass
class Layer:
    """A convolution or linear module whose weight was used.

    Attributes:
        positions: How often each weight is used for one sample.
        derived: The layer computes the weight that it uses from its parameter, as for weight standardisation, so zeros
            in the parameter do not stay zero.
    """

    name: str
    module: AnyLayer
    positions: int = 0
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


@dataclass(frozen=True)
class BareWeight:
    """A parameter, or a part of one, that is multiplied outside of layers.

    Attributes:
        name: Name of the parameter in the network.
        positions: How often each element is used for one sample.
        call: Index of the call that multiplies it.
    """

    name: str
    shape: tuple[int, ...]
    positions: int
    call: int


class Trace:
    """The record of one forward pass of `net` on `example`.

    Attributes:
        training: Whether the network ran in training mode.
        read: The values that its code reads (see `Watching`), for other runs of this network.
        in_training: The trace of the same network in training mode, or None if it does not run in it with this example.
        read_outside: Names of modules whose parameters code outside of them reads.
        more_arguments: Names of layers that are called with more than one tensor.
        ran: How often each module ran.
        products: FLOPs of the matrix products and convolutions that use no weight of the network, such as those of
            attention, by the innermost module that was running.
        outputs: Shapes of the tensors that the network returned, and a description of the containers that hold them.
        uncounted: Why the FLOPs of some weights are not known, or None.
        runs: For each run of a module, the numbers of the tensors that it was called with and that it returned.
    """

    def __init__(self, net: nn.Module, example: tuple[tuple, dict], training: bool, read: Sequence[Any] | None = None):
        self.net = net
        self.read = read
        self.example = example
        self.training = training
        self.calls: list[Call] = []
        self.layers: dict[str, Layer] = {}
        self.bare_weights: list[BareWeight] = []
        self.uncounted: str | None = None
        self.in_training: Trace | None = None
        self.read_outside: set[str] = set()
        self.more_arguments: set[str] = set()
        self.ran: dict[str, int] = defaultdict(int)
        self.products: dict[str, int] = defaultdict(int)
        self.runs: dict[str, list[tuple[tuple[int, ...], tuple[int, ...]]]] = defaultdict(list)
        self.network_outputs: set[int] = set()
        self.outputs: tuple[tuple[torch.Size, ...], str] = ((), "")

    @property
    def modes(self) -> tuple[Trace, ...]:
        """The trace itself, and that in training mode."""
        return (self,) if self.in_training is None else (self, self.in_training)

    @cached_property
    def consumers(self) -> dict[int, list[Call]]:
        """The calls that read each tensor."""
        table: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            for value in set(call.inputs):
                table[value].append(call)
        return table

    @cached_property
    def producer(self) -> dict[int, Call]:
        """The call that wrote each tensor."""
        return {value: call for call in self.calls for value in call.outputs}

    def is_layer(self, call: Call) -> bool:
        return call.module in self.layers

    @property
    def ends(self) -> list[str]:
        """The layers that ran first and last.

        There is no first layer if an embedding of the network's inputs runs before it, and no last one if a product
        with a parameter outside of layers follows it, such as that of a head with the weight of an embedding.
        """
        first = next((call for call in self.calls if self.is_layer(call) or call.func is F.embedding), None)
        last = next((call for call in reversed(self.calls) if self.is_layer(call) or self._is_bare(call)), None)
        return [call.module for call in (first, last) if call is not None and self.is_layer(call)]

    def _is_bare(self, call: Call) -> bool:
        return call.index in self._bare_calls

    @cached_property
    def _bare_calls(self) -> set[int]:
        return {use.call for use in self.bare_weights}

    def norm_after(self, name: str) -> str | None:
        """Return the norm module that alone reads the output of a layer, if both modules run once."""
        readers = self._readers(name)
        if len(readers) != 1:
            return None
        (reader,) = readers
        return reader if self.ran[reader] == 1 and _is_norm(self.net.get_submodule(reader)) else None

    def activation_after(self, name: str) -> tuple[nn.Module | None, str | None]:
        """Return the non-linearity between a layer and the next one, and the name of its module.

        Sums, norms, dropout and reshaping are skipped: the second convolution of a residual block has the activation
        after the addition. The search ends at gates (sigmoid, softmax) and at functions of a part of the channels.

        Returns:
            The non-linearity, or None; and the name of the module that applies it if only this layer uses that module,
            or None.
        """
        seen: set[int] = set()
        frontier = list(self.layers[name].outputs)
        while frontier:
            value = frontier.pop(0)
            found = function_of(value, self.calls, self.consumers, self.is_layer)
            if found is not None and not found.gate:
                return self._applied(found, name)
            gate = found.calls if found else ()
            for call in self.consumers[value]:
                if call not in gate and not self.is_layer(call) and not self._takes_part(call):
                    frontier += [v for v in call.outputs if v not in seen]
                    seen.update(call.outputs)
        return None, None

    def read_before_activation(self, name: str) -> set[str]:
        """Return the layers that read the output of a layer before any sum or non-linearity, and "" for the network's
        output."""
        readers, seen, frontier = set[str](), set[int](), list(self.layers[name].outputs)
        while frontier:
            value = frontier.pop()
            found = function_of(value, self.calls, self.consumers, self.is_layer)
            readers |= {""} if value in self.network_outputs else set()
            for call in self.consumers[value]:
                if self.is_layer(call):
                    readers.add(call.module)
                elif call.func not in SUMS and not (found and call in found.calls):
                    frontier += [v for v in call.outputs if v not in seen]
                    seen.update(call.outputs)
        return readers

    @cached_property
    def usual_activation(self) -> nn.Module:
        """The most frequent non-linearity after a layer of the network; ReLU if there is none."""
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

        def inputs(value: int) -> tuple[int, ...]:
            call = self.producer.get(value)
            return () if call is None or self.is_layer(call) or self._is_bare(call) else call.inputs

        calls = (self.producer.get(value) for value in _reachable(self.network_outputs, inputs))
        return {call.module for call in calls if call is not None and self.is_layer(call)}

    @cached_property
    def _started(self) -> dict[int, list[tuple[str, int]]]:
        """The modules that were called with each tensor alone, and the tensor that they returned."""
        table: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for name, runs in self.runs.items():
            for inputs, outputs in runs:
                if len(inputs) == len(outputs) == 1:
                    table[inputs[0]].append((name, outputs[0]))
        return table

    def _readers(self, name: str) -> set[str]:
        """The modules that read the output of a module; empty if it is not one tensor, or an output of the network."""
        outputs = [value for _, values in self.runs[name] for value in values]
        if self.ran[name] != 1 or len(outputs) != 1 or outputs[0] in self.network_outputs:
            return set()
        return {call.module for call in self.consumers[outputs[0]]}

    def _applied(self, found: Found, layer: str) -> tuple[nn.Module | None, str | None]:
        """The module of an elementwise function after a layer, and its name if only this layer uses it."""
        norm = self.norm_after(layer)
        name = self._module_of(found)
        alone: str | None = None
        if norm is not None and is_within(found.calls[0].module, norm):
            alone = found.calls[0].module
        elif name and self.ran[name] == 1 and (readers := self._readers(norm or layer)):
            alone = name if all(is_within(reader, name) for reader in readers) else None
        if name:
            return copy.deepcopy(self.net.get_submodule(name)), alone
        return self._function(found.activation) if found.activation else found.formula, alone

    def _module_of(self, found: Found) -> str | None:
        """The largest module that consists of the function, or of all of it but constant scalings and shifts."""
        starts = [segment.start for segment in found.segments]
        starts = starts[: starts.index(found.core[0].start) + 1]
        nonlinear = next(place for place, segment in enumerate(found.segments) if not segment.linear)
        ends = [segment.end for segment in found.segments[nonlinear:]]
        fitting = [
            (ends.index(end), len(name), name) for start in starts for name, end in self._started[start] if end in ends
        ]
        return max(fitting)[2] if fitting else None

    def _function(self, call: Call) -> nn.Module | None:
        """The module of an activation; None if it has a parameter of its own."""
        owner = self.net.get_submodule(call.module)
        if _is_activation(owner):
            return copy.deepcopy(owner)
        assert call.arguments is not None
        args, kwargs = call.arguments
        return None if call.reads_parameters else Function(call.func, args[1:], kwargs)

    def _takes_part(self, call: Call) -> bool:
        """Whether a call returns a part of a tensor, while another part goes elsewhere."""
        parts = len(call.outputs) > 1 or (call.name in PARTS and len(self.consumers[call.inputs[0]]) > 1)
        return parts or call.name == "softmax"

    def _sources(self, values: list[int]) -> set[int]:
        """The tensors that these come from by functions of one tensor (pooling, norms, activations), and these."""

        def inputs(value: int) -> tuple[int, ...]:
            call = self.producer.get(value)
            return call.inputs if call and not self.is_layer(call) and len(call.inputs) == 1 else ()

        return _reachable(values, inputs)

    def _reached_through_layers(self, sources: set[int], skip: str) -> set[int]:
        """The tensors that come from the sources through a layer other than `skip`."""
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
        """The tensors that come from these without a layer or a sum in between, and these."""

        def outputs(value: int) -> list[int]:
            calls = (call for call in self.consumers[value] if not self.is_layer(call) and call.func not in SUMS)
            return [output for call in calls for output in call.outputs]

        return _reachable(values, outputs)


def is_within(name: str, module: str) -> bool:
    """Return whether a name is that of a module or of a submodule of it."""
    return f"{name}.".startswith(f"{module}.")


def _reachable(values: Iterable[int], following: Callable[[int], Iterable[int]]) -> set[int]:
    found, frontier = set(values), list(values)
    while frontier:
        new = set(following(frontier.pop())) - found
        found |= new
        frontier += new
    return found


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, AnyNorm) and len(getattr(module, "normalized_shape", (1,))) == 1


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == nn.ReLU.__module__
