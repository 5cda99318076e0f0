"""What a network computes, seen by running it once on the meta device: no data, no arithmetic, no guessing
from names.

`trace(net, example)` records every torch function call with the tensors that flow between them. From that
record come the layers in execution order, how often each of their weights is used, the norm and the
activation that follow a layer, and which layers are projection shortcuts.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .errors import UserError

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (*CONVS, *TRANSPOSED, nn.Linear)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)

ACTIVATIONS: dict[Callable, type[nn.Module]] = {
    F.relu: nn.ReLU, torch.relu: nn.ReLU, torch.relu_: nn.ReLU, Tensor.relu: nn.ReLU, Tensor.relu_: nn.ReLU,
    F.relu6: nn.ReLU6, F.hardtanh: nn.Hardtanh, F.leaky_relu: nn.LeakyReLU, F.elu: nn.ELU,
    F.selu: nn.SELU, F.celu: nn.CELU,
    F.gelu: nn.GELU, F.silu: nn.SiLU, F.mish: nn.Mish, F.hardswish: nn.Hardswish, F.softplus: nn.Softplus,
    torch.tanh: nn.Tanh, Tensor.tanh: nn.Tanh,
}  # fmt: skip
"""Non-linearities a layer may end in. Gates (sigmoid, softmax) are not among them: they scale another
tensor."""

SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}


@dataclass(frozen=True)
class Call:
    """One torch function call: the values it read and wrote, and the innermost module that was running."""

    func: Callable
    module: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass
class Layer:
    """A convolution or linear module that ran. `positions`: how often each weight is used for one
    sample."""

    name: str
    module: nn.Module
    positions: int = 0
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    @property
    def depthwise(self) -> bool:
        groups = getattr(self.module, "groups", 1)
        return groups > 1 and groups == self.module.in_channels

    @property
    def pointwise(self) -> bool:
        return all(size == 1 for size in getattr(self.module, "kernel_size", ()))


class Trace:
    """The record of one forward pass of `net` on `example`."""

    def __init__(self, net: nn.Module, example: tuple[tuple, dict]):
        self.net = net
        self.example = example
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
        """The norm module that alone reads the output of the layer `name`, where both run once."""
        return self._sole_successor(name, lambda module: isinstance(module, NORMS))

    def activation_after(self, name: str) -> tuple[nn.Module | None, str | None]:
        """The non-linearity that the output of a layer meets before the next layer, and its module's name
        if that module directly follows the layer (or its norm), runs once and is read by nothing else.

        Sums, norms, dropout and reshaping are looked through: the second convolution of a residual block
        ends in the activation after the addition.
        """
        seen: set[int] = set()
        frontier = list(self.layers[name].outputs)
        while frontier:
            value = frontier.pop(0)
            for call in self.consumers[value]:
                if call.func in ACTIVATIONS:
                    return self._activation_module(call), self._direct_activation(name)
                if not self.is_layer(call):
                    frontier += [v for v in call.outputs if v not in seen]
                    seen.update(call.outputs)
        return None, None

    def is_projection(self, name: str) -> bool:
        """Whether a pointwise layer is the shortcut of a residual block: its output is added to a tensor
        that comes from the same input through other layers."""
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
        """Layers whose output reaches an output of the network without passing another layer."""
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
        return self._sole_successor(before, lambda module: isinstance(module, tuple(ACTIVATIONS.values())))

    def _activation_module(self, call: Call) -> nn.Module:
        owner = self.net.get_submodule(call.module)
        kind = ACTIVATIONS[call.func]
        return copy.deepcopy(owner) if isinstance(owner, kind) else kind()

    def _sources(self, values: list[int]) -> set[int]:
        """The values and what they were made from by functions of one tensor (pooling, norms,
        activations)."""
        found = set(values)
        frontier = list(values)
        while frontier:
            call = self.producer.get(frontier.pop())
            if call and not self.is_layer(call) and len(call.inputs) == 1 and call.inputs[0] not in found:
                found.add(call.inputs[0])
                frontier.append(call.inputs[0])
        return found

    def _reached_through_layers(self, sources: set[int], skip: str) -> set[int]:
        plain, layered = set(sources), set()
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


class _Recorder(TorchFunctionMode):
    def __init__(self, record: Trace):
        super().__init__()
        self.record = record
        self.stack: list[str] = [""]
        self._alive: list[Tensor] = []  # keeps id() of every tensor unique while tracing
        self._value: dict[int, int] = {}
        self._count = 0

    def new_value(self, tensor: Tensor) -> int:
        self._alive.append(tensor)
        self._count += 1
        self._value[id(tensor)] = self._count
        return self._count

    def values(self, tree: Any) -> tuple[int, ...]:
        return tuple(self._value[id(t)] for t in tree_leaves(tree) if isinstance(t, Tensor) and id(t) in self._value)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        inputs = self.values((args, kwargs))
        result = func(*args, **kwargs)
        written = [args[0]] if func is Tensor.__setitem__ else [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        if inputs and written:
            self.record.calls.append(
                Call(func, self.stack[-1], inputs, tuple(self.new_value(tensor) for tensor in written))
            )
        return result

    def enter(self, name: str) -> Callable:
        def hook(module: nn.Module, args: tuple) -> None:
            self.stack.append(name)
            self.record.ran[name] += 1
            if isinstance(module, LAYERS):
                self.record.layers.setdefault(name, Layer(name, module)).inputs += self.values(args)

        return hook

    def leave(self, name: str, batch: int) -> Callable:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            self.stack.pop()
            values = self.values(output)
            self.record.module_outputs[name] += values
            if isinstance(module, LAYERS):
                layer = self.record.layers[name]
                used = args[0] if isinstance(module, TRANSPOSED) else output
                with torch._C.DisableTorchFunction():
                    layer.positions += used.numel() // (module.weight.shape[0] * batch)
                layer.outputs += values

        return hook


def inputs_of(example: Tensor | tuple | dict) -> tuple[tuple, dict]:
    """An example as positional and keyword arguments: a tensor, a tuple of arguments, a dict of keywords,
    or both together."""
    if (
        isinstance(example, tuple)
        and len(example) == 2
        and isinstance(example[0], tuple)
        and isinstance(example[1], dict)
    ):
        return example
    if isinstance(example, dict):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def meta_copy(net: nn.Module) -> nn.Module:
    """A copy of the network whose parameters, buffers and plain tensor attributes are on the meta device;
    sharing is kept."""

    def to_meta(tensor: Tensor) -> Tensor:
        with torch.no_grad():
            twin = tensor.detach().to("meta")
        return nn.Parameter(twin, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin

    tensors = [*net.parameters(), *net.buffers()]
    tensors += [value for module in net.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    return copy.deepcopy(net, {id(tensor): to_meta(tensor) for tensor in tensors})


def on_meta(example: Any) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.to("meta"), example)


def trace(net: nn.Module, example: Tensor | tuple | dict) -> Trace:
    """Run a meta copy of `net` once in evaluation mode and record what happens.

    `example` is a batch of any size; counts are for one sample. Raises UserError where the network does not
    take it.
    """
    args, kwargs = on_meta(inputs_of(example))
    record = Trace(net, (args, kwargs))
    recorder = _Recorder(record)
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    batch = tensors[0].shape[0]
    runner = meta_copy(net).eval()
    for name, module in runner.named_modules():
        module.register_forward_pre_hook(recorder.enter(name))
        module.register_forward_hook(recorder.leave(name, batch))
    for tensor in tensors:
        recorder.new_value(tensor)
    try:
        with torch.no_grad(), recorder:
            output = runner(*args, **kwargs)
    except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError, AttributeError) as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        where = recorder.stack[-1] or type(net).__name__
        raise UserError(
            f"the network cannot run on an example of shape {shapes}: {where}: {_first_line(error)}"
        ) from error
    record.network_outputs = set(recorder.values(output))
    record.output_shapes = [t.shape for t in tree_leaves(output) if isinstance(t, Tensor)]
    for layer in record.layers.values():  # hand out the caller's modules, not the meta twins
        layer.module = net.get_submodule(layer.name)
    return record


def _first_line(error: Exception) -> str:
    lines: Iterator[str] = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
