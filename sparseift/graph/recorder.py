"""Record a trace: run a network once on the meta device."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from .copies import meta_copy, require_plain
from .examples import Example, inputs_of, on_meta, tensor_leaves, tensors_in
from .layers import ACTIVATIONS, LAYER_FUNCTIONS, AnyLayer, ConvTransposed, layer_at, layers_by_weight
from .pytree import tree_map_only
from .trace import Call, Layer, Trace
from .watching import Failed, Watching, own_code


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
        with own_code():
            inputs = self.values((args, kwargs))
            self._note_taken((args, kwargs))
        result = func(*args, **kwargs)
        with own_code():
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
        innermost = self.stack[-1]
        inside = isinstance(innermost, AnyLayer)
        module = innermost if isinstance(innermost, AnyLayer) else self.owner.get(id(weight))
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

    def entered(self, module: nn.Module, args: tuple) -> None:
        self.record.ran[self.names[module]] += 1

    def left(self, module: nn.Module, output: Any) -> None:
        self.record.module_outputs[self.names[module]] += self.values(output)


def trace(net: nn.Module, example: Example, training: bool = False) -> Trace:
    """Run a meta copy of `net` once and record what happens.

    Args:
        net: The network, in any mode, which is left unchanged.
        example: A batch of any size that the network takes; counts are for one sample.
        training: Run in training mode, in which auxiliary heads run, with two samples, as norms need, instead of in
            evaluation mode with one.

    Raises:
        UserError: The network does not run on the example, or has no Python code or shapes.
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
        raise UserError(
            f"the network cannot run on an example of shape {shapes}: {where}: {failure}"
        ) from failure.__cause__
    outputs = tensors_in(output)
    record.network_outputs = set(recorder.values(outputs))
    record.output_shapes = [tensor.shape for tensor in outputs]
    for layer in record.layers.values():
        layer.functional = layer.name in recorder.taken
        layer.module = layer_at(net, layer.name)  # the caller's, not the meta twin
    return record


def _sized(example: tuple[tuple, dict], samples: int) -> tuple[tuple, dict]:
    """The example with so many samples, all equal to its first."""
    tensors = tensors_in(example)
    if not tensors or not tensors[0].dim() or not len(tensors[0]):
        found = ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "without tensors"
        raise UserError(f"the example is {found}; expected tensors that begin with a batch of at least one sample")
    batch, taken = len(tensors[0]), [0] * samples
    sized = partial(tree_map_only, Tensor, lambda tensor: tensor[taken] if tensor.shape[:1] == (batch,) else tensor)
    return sized(example[0]), sized(example[1])
