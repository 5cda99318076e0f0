"""Record a trace: run a network once on the meta device."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from ..common.messages import one_line
from ..errors import UserError
from .copies import meta_copy, require_plain
from .examples import inputs_of, on_meta, tensor_leaves, tensors_in
from .layers import ACTIVATIONS, LAYER_FUNCTIONS, LAYERS, TRANSPOSED, layers_by_weight
from .meta_kernels import Shapes
from .trace import Call, Layer, Trace


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
            f"the network cannot run on an example of shape {shapes}: {where}: {one_line(error, whole=False)}"
        ) from error
    outputs = tensors_in(output)
    record.network_outputs = set(recorder.values(outputs))
    record.output_shapes = [tensor.shape for tensor in outputs]
    for layer in record.layers.values():
        layer.functional = layer.name in recorder.taken
        layer.module = net.get_submodule(layer.name)  # the caller's, not the meta twin
    return record
