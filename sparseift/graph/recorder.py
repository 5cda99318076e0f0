"""Record a trace: run a network once on the meta device."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from ..errors import UserError
from .copies import meta_copy, require_plain
from .examples import Example, inputs_of, on_meta, tensor_leaves, tensors_in
from .calls import Call, Value, name_of
from .formulas import ELEMENTWISE
from .layers import LAYER_FUNCTIONS, AnyLayer, ConvTransposed, layer_at, layers_by_weight
from .pytree import tree_map, tree_map_only
from .trace import Layer, Trace
from .watching import Failed, Watching


class _Recorder(Watching):
    """Writes a trace while a network runs."""

    def __init__(self, record: Trace, runner: nn.Module):
        super().__init__(runner)
        self.record = record
        self.owner = layers_by_weight(runner)
        self.readers: dict[int, set[nn.Module]] = {}  # the modules that own each parameter
        for module in self.names:
            for parameter in module.parameters(recurse=False):
                self.readers.setdefault(id(parameter), set()).add(module)
        self._alive: list[Tensor] = []  # keeps id() of every tensor unique while tracing
        self._value: dict[int, int] = {}
        self._called_with: list[tuple[int, ...]] = []
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
        with self.own_code():
            inputs = self.values((args, kwargs))
            arguments = self._arguments(args, kwargs) if name_of(func) in ELEMENTWISE else None
            for leaf in tensor_leaves((args, kwargs)):
                if (owners := self.readers.get(id(leaf))) and self.innermost not in owners:
                    self.record.read_outside |= {self.names[owner] for owner in owners}
        result = func(*args, **kwargs)
        with self.own_code():
            written = tensor_leaves(args[0] if func is Tensor.__setitem__ else result)
            if written and (inputs or func in LAYER_FUNCTIONS):
                outputs = tuple(self.new_value(tensor) for tensor in written)
                owner = self._layer(written[0], *args, **kwargs) if func in LAYER_FUNCTIONS else None
                index = len(self.record.calls)
                self.record.calls.append(Call(index, func, owner or self.here(), inputs, outputs, arguments))
        return result

    def _layer(self, output: Tensor, input: Tensor, weight: Tensor, *_: Any, **__: Any) -> str | None:
        """Note the use of a weight. Return the name of its layer, or None if no layer has it, as a fixed filter."""
        inside = isinstance(self.innermost, AnyLayer)
        module = cast(AnyLayer, self.innermost) if inside else self.owner.get(id(weight))
        if module is None:
            return None
        name = self.names[module]
        layer = self.record.layers.setdefault(name, Layer(name, module))
        layer.derived |= id(weight) not in self.owner
        used = input if isinstance(module, ConvTransposed) else output
        layer.positions += used.numel() // module.weight.shape[0]
        layer.inputs += self.values(input)
        layer.outputs += self.values(output)
        if not inside:
            self.record.ran[name] += 1
        return name

    def _arguments(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        def numbered(leaf: Any) -> Any:
            return Value(self._value[id(leaf)]) if id(leaf) in self._value else leaf

        return tree_map_only(Tensor, numbered, (args, kwargs))

    def entered(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.record.ran[self.names[module]] += 1
        self._called_with.append(self.values((args, kwargs)))
        if isinstance(module, AnyLayer) and (kwargs or len(args) != 1):
            self.record.more_arguments.add(self.names[module])

    def left(self, module: nn.Module, output: Any) -> None:
        self.record.runs[self.names[module]].append((self._called_with.pop(), self.values(output)))


def trace_modes(net: nn.Module, example: Example) -> Trace:
    """Run a network in evaluation mode and, if it can with this example, in training mode. See `trace`."""
    record = trace(net, example)
    with suppress(UserError):  # such as that of a network that needs labels in training mode
        record.in_training = trace(net, example, training=True)
    return record


def trace(net: nn.Module, example: Example, training: bool = False, subject: str = "the network") -> Trace:
    """Run a meta copy of `net` once and record what happens.

    Args:
        net: The network, which is left unchanged.
        example: A batch of any size that the network takes; counts are for one sample.
        training: Run in training mode with two samples, which norms need, instead of in evaluation mode with one.
        subject: What a message calls the network.

    Raises:
        UserError: The network does not run on the example, is compiled, or has a lazy layer.
    """
    require_plain(net)
    args, kwargs = _sized(on_meta(inputs_of(example)), 2 if training else 1)
    tensors = tensors_in((args, kwargs))
    record = Trace(net, (args, kwargs), training)
    recorder = _Recorder(record, meta_copy(net).train(training))
    for tensor in tensors:
        recorder.new_value(tensor)
    try:
        output = recorder.run(args, kwargs)
    except Failed as failure:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        where = failure.module or type(net).__name__
        mode = " in training mode" if training else ""
        raise UserError(
            f"{subject} cannot run{mode} on an example of shape {shapes}: {where}: {failure}"
        ) from failure.__cause__
    outputs = tensors_in(output)
    record.network_outputs = set(recorder.values(outputs))
    record.outputs = tuple(tensor.shape for tensor in outputs), _containers(output)
    for layer in record.layers.values():
        layer.module = layer_at(net, layer.name)  # the caller's, not the meta twin
    return record


def _containers(output: Any) -> str:
    """A description of nested containers that leaves out the values in them."""
    return str(tree_map(lambda leaf: type(leaf).__name__, output))


def _sized(example: tuple[tuple, dict], samples: int) -> tuple[tuple, dict]:
    """The example with another number of samples, which all are its first."""
    tensors = tensors_in(example)
    if not tensors or not tensors[0].dim() or not len(tensors[0]):
        found = ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "without tensors"
        raise UserError(f"the example is {found}; expected tensors that begin with a batch of at least one sample")
    batch, first = len(tensors[0]), [0] * samples
    sized = partial(tree_map_only, Tensor, lambda tensor: tensor[first] if tensor.shape[:1] == (batch,) else tensor)
    return sized(example[0]), sized(example[1])
