"""What a network computes, seen by running it once on the meta device: no data, no arithmetic, no guessing from
names.

`trace(net, example)` records every torch function call with the tensors that flow between them. From that record come
the layers in execution order, how often each of their weights is used, the norm and the activation that follow a
layer, and which layers are projection shortcuts.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from .errors import UserError
from .meta import first_line, inputs_of, meta_copy, on_meta, require_plain, tensor_leaves, tensors_in
from .shapes import Shapes

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (*CONVS, *TRANSPOSED, nn.Linear)
LAYER_FUNCTIONS = {
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
}  # fmt: skip
NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)

ACTIVATIONS = {
    F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh, F.leaky_relu, F.elu, F.selu,
    F.celu, F.gelu, F.silu, F.mish, F.hardswish, F.softplus, F.prelu, torch.tanh, Tensor.tanh, Tensor.tanh_,
}  # fmt: skip
"""Non-linearities a layer may end in. Gates (sigmoid, softmax) are not among them: they scale another tensor."""

SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}


@dataclass(frozen=True)
class Call:
    """One torch function call: the values it read and wrote, and the innermost module that was running."""

    func: Callable
    module: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: tuple[tuple, dict] | None = None  # further arguments, of activations only


class Function(nn.Module):
    """An activation that the network calls as a function, with the options that it gives it."""

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

    positions: how often each weight is used for one sample. functional: the network's own code takes the weight, to
    compute with it or to see its type. derived: what was used was computed from the weight (weight standardisation),
    so zeros in it do not stay zero.
    """

    name: str
    module: nn.Module
    positions: int = 0
    functional: bool = False
    derived: bool = False
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
    """The record of one forward pass of `net` on `example`. training: in that mode."""

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
        """The norm module that alone reads the output of the layer `name`, where both run once."""
        return self._sole_successor(name, _is_norm)

    def activation_after(self, name: str) -> tuple[nn.Module | None, str | None]:
        """The non-linearity that the output of a layer meets before the next layer, and the name of the module that
        applies it, if that is the layer's norm or within it, or if it directly follows the layer (or its norm), runs
        once and is read by nothing else.

        Sums, norms, dropout and reshaping are looked through: the second convolution of a residual block ends in the
        activation after the addition.
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

    def is_projection(self, name: str) -> bool:
        """Whether a pointwise layer is the shortcut of a residual block: its output is added to a tensor that comes
        from the same input through other layers."""
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
        return self._sole_successor(before, _is_activation)

    def _activation_module(self, call: Call) -> nn.Module:
        owner = self.net.get_submodule(call.module)
        return copy.deepcopy(owner) if _is_activation(owner) else Function(call.func, *call.options)

    def _sources(self, values: list[int]) -> set[int]:
        """The values and what they were made from by functions of one tensor (pooling, norms, activations)."""
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


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, NORMS) and len(getattr(module, "normalized_shape", (1,))) == 1


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == nn.ReLU.__module__


class Watching(TorchFunctionMode):
    """Sees every torch function that a network calls, and the modules that are running then, innermost last."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.names = {module: name for name, module in net.named_modules()}
        self.stack: list[nn.Module] = []
        self._handles = [module.register_forward_pre_hook(self._enter) for module in self.names]
        self._handles += [module.register_forward_hook(self._leave) for module in self.names]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def here(self) -> str:
        """The name of the innermost module; empty for the network itself."""
        return self.names[self.stack[-1]] if self.stack else ""

    def _enter(self, module: nn.Module, args: tuple) -> None:
        self.stack.append(module)

    def _leave(self, module: nn.Module, args: tuple, output: Any) -> None:
        self.stack.pop()


def layers_by_weight(net: nn.Module) -> dict[int, nn.Module]:
    """The layer that holds a weight, by id() of the weight; not those that compute theirs anew at each use."""
    layers = (module for module in net.modules() if isinstance(module, LAYERS) and "weight" in module._parameters)
    return {id(layer.weight): layer for layer in layers}


class _Recorder(Watching):
    """Writes a trace while a network runs."""

    def __init__(self, record: Trace, runner: nn.Module):
        super().__init__(runner)
        self.record = record
        self.owner = layers_by_weight(runner)
        self.taken: set[str] = set()
        self._alive: list[Tensor] = []  # keeps id() of every tensor unique while tracing
        self._value: dict[int, int] = {}
        self._count = 0

    def new_value(self, tensor: Tensor) -> int:
        self._alive.append(tensor)
        self._count += 1
        self._value[id(tensor)] = self._count
        return self._count

    def values(self, tree: Any) -> tuple[int, ...]:
        known = (self._value.get(id(tensor)) for tensor in tensor_leaves(tree))
        return tuple(value for value in known if value is not None)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        inputs = self.values((args, kwargs))
        self._note_taken((args, kwargs))
        result = func(*args, **kwargs)
        written = tensor_leaves(args[0] if func is Tensor.__setitem__ else result)
        if written and (inputs or func in LAYER_FUNCTIONS):
            outputs = tuple(self.new_value(tensor) for tensor in written)
            owner = self._layer(written[0], *args, **kwargs) if func in LAYER_FUNCTIONS else None
            options = (args[1:], kwargs) if func in ACTIVATIONS else None
            self.record.calls.append(Call(func, owner or self.here(), inputs, outputs, options))
        return result

    def _note_taken(self, arguments: Any) -> None:
        for leaf in tensor_leaves(arguments):
            layer = self.owner.get(id(leaf))
            if layer is not None and self.stack[-1:] != [layer]:
                self.taken.add(self.names[layer])

    def _layer(self, output: Tensor, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> str | None:
        """Note the use of a layer's weight; its name, or None for a filter of the network's own, such as a blur."""
        inside = isinstance(self.stack[-1], LAYERS)
        module = self.stack[-1] if inside else self.owner.get(id(weight))
        if module is None:
            return None
        name = self.names[module]
        layer = self.record.layers.setdefault(name, Layer(name, module))
        layer.derived |= id(weight) not in self.owner
        with torch._C.DisableTorchFunction():
            used = input if isinstance(layer.module, TRANSPOSED) else output
            layer.positions += used.numel() // layer.module.weight.shape[0]
        layer.inputs += self.values(input)
        layer.outputs += self.values(output)
        if not inside:
            self.record.ran[name] += 1
        return name

    def _enter(self, module: nn.Module, args: tuple) -> None:
        super()._enter(module, args)
        self.record.ran[self.names[module]] += 1

    def _leave(self, module: nn.Module, args: tuple, output: Any) -> None:
        super()._leave(module, args, output)
        self.record.module_outputs[self.names[module]] += self.values(output)


def trace(net: nn.Module, example: Tensor | tuple | dict, training: bool = False) -> Trace:
    """Run a meta copy of `net` once in evaluation mode and record what happens.

    `example` is a batch of any size; counts are for one sample. training: in training mode, where auxiliary heads run,
    and with two samples, as norms need. Raises UserError where the network does not take it.
    """
    require_plain(net)
    args, kwargs = on_meta(inputs_of(example))
    tensors = tensors_in((args, kwargs))
    if not tensors or not tensors[0].dim() or not len(tensors[0]):
        raise UserError(
            "the example holds no sample: a tensor, or a tuple of tensors, that begins with a batch is meant"
        )
    batch = len(tensors[0])
    taken = [0, 0] if training else [0]
    sized = partial(tree_map_only, Tensor, lambda tensor: tensor[taken] if tensor.shape[:1] == (batch,) else tensor)
    args, kwargs = sized(args), sized(kwargs)
    tensors = tensors_in((args, kwargs))
    record = Trace(net, (args, kwargs), training)
    runner = meta_copy(net).train(training)
    recorder = _Recorder(record, runner)
    for tensor in tensors:
        recorder.new_value(tensor)
    try:
        with torch.no_grad(), Shapes(), recorder:
            output = runner(*args, **kwargs)
    except Exception as error:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        where = recorder.here() or type(net).__name__
        raise UserError(
            f"the network cannot run on an example of shape {shapes}: {where}: {first_line(error)}"
        ) from error
    outputs = tensors_in(output)
    record.network_outputs = set(recorder.values(outputs))
    record.output_shapes = [tensor.shape for tensor in outputs]
    for layer in record.layers.values():
        layer.functional = layer.name in recorder.taken
        layer.module = net.get_submodule(layer.name)  # the caller's, not the meta twin
    return record
