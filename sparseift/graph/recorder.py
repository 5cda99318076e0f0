"""Record a trace: run a network once on the meta device."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from .attention import with_linear_attention
from .calls import Call, Value, name_of
from .copies import meta_copy, require_plain
from .counter import FlopCounter
from .examples import Example, hint, inputs_of, on_meta, results_in, sized_example, tensor_leaves, tensors_in
from .formulas import ELEMENTWISE
from .layers import LAYER_FUNCTIONS, AnyLayer, layer_at, layers_by_weight, stored_weight
from .linear_modules import with_linear_layers
from .products import ADDED, PRODUCTS, RECURRENT, uses
from .pytree import tree_map
from .read_values import read_values
from .trace import BareWeight, Layer, Trace
from .watching import Failed, Watching, storage

UNSHAPED, MEANING = re.compile(r"The register_meta function for (\S+) raises.*"), r"\1 has shapes that depend on values"
"""What torch says of such a function on the meta device, and what it means."""

WAY_OUT = (
    "expected code whose shapes do not depend on values; or transform a part, such as the backbone, and build the "
    "network with the result"
)


class _Recorder(Watching):
    """Writes a trace while a network runs."""

    def __init__(self, record: Trace, runner: nn.Module):
        super().__init__(runner, record.read)
        self.record = record
        self.owner = layers_by_weight(runner)
        self.counter = FlopCounter()
        self.readers: dict[int, set[nn.Module]] = {}  # the modules that own each parameter
        for module in self.names:
            for parameter in module.parameters(recurse=False):
                self.readers.setdefault(id(parameter), set()).add(module)
        self._alive: list[Tensor] = []  # keeps id() of every tensor unique while tracing
        self._value: dict[int, int] = {}
        self.foreign: list[tuple[nn.Parameter, str]] = []  # parameters that are not the network's, and their readers
        self.parameters = {id(parameter): name for name, parameter in runner.named_parameters()}
        self.bases = {key: frozenset([key]) for key in self.parameters}  # the parameters that tensors come from
        self._called_with: list[tuple[int, ...]] = []
        self._count = 0
        self._attributed = 0  # FLOPs of the current call that belong to weights

    def new_value(self, tensor: Tensor) -> int:
        self._alive.append(tensor)
        self._count += 1
        self._value[id(tensor)] = self._count
        return self._count

    def values(self, tree: Any) -> tuple[int, ...]:
        return self._numbers(tensor_leaves(tree))

    def _numbers(self, tensors: list[Tensor]) -> tuple[int, ...]:
        known = (self._value.get(id(tensor)) for tensor in tensors)
        return tuple(value for value in known if value is not None)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with self.own_code():
            read = tensor_leaves((args, kwargs))
            inputs = self._numbers(read)
            arguments = self._arguments(args, kwargs) if name_of(func) in ELEMENTWISE else None
            for leaf in read:
                if (owners := self.readers.get(id(leaf))) and self.innermost not in owners:
                    self.record.read_outside |= {self.names[owner] for owner in owners}
        self.counter.flops = self._attributed = 0
        result = func(*args, **kwargs)
        with self.own_code():
            written = tensor_leaves(args[0] if func is Tensor.__setitem__ else result)
            if written and (inputs or func in LAYER_FUNCTIONS):
                layer = self._weights_of(func, args, kwargs, read, written[0], inputs)
                outputs = tuple(self.new_value(tensor) for tensor in written)
                if layer is not None:
                    layer.inputs += inputs
                    layer.outputs += outputs
                index, where = len(self.record.calls), self.here() if layer is None else layer.name
                self.record.calls.append(Call(index, func, where, inputs, outputs, arguments))
            elif written and (bases := self._bases_of(read)):
                self._alive += written
                self.bases.update(dict.fromkeys(map(id, written), bases))
            if (others := self.counter.flops - self._attributed) > 0:
                self.record.products[self.here()] += others
        return result

    def _bases_of(self, tensors: list[Tensor]) -> frozenset[int]:
        """The parameters, by id(), that tensors are or were computed from."""
        return frozenset[int]().union(*(self.bases.get(id(tensor), ()) for tensor in tensors))

    def _weights_of(
        self, func, args: tuple, kwargs: dict, read: list[Tensor], output: Tensor, inputs: tuple[int, ...]
    ) -> Layer | None:
        """Note the weights that a product uses. Return the layer that one of them belongs to."""
        name = name_of(func)
        if name not in PRODUCTS:
            return None
        found, bare = None, []
        layer_weight = [args[1] if len(args) > 1 else kwargs["weight"]] if func in LAYER_FUNCTIONS else None
        for factor in layer_weight or read[name in ADDED :]:
            if id(factor) in self._value or (name not in RECURRENT and factor.dim() < 2):
                continue  # an activation, or a bias
            if isinstance(factor, nn.Parameter) and id(factor) not in self.bases:
                self.foreign.append((factor, self._place()))
            bases, positions = self._bases_of([factor]), uses(name, args, kwargs, output, factor)
            if (module := self._layer_with(factor, bases)) is not None:
                found = self._use(module, factor, positions)
            elif bases and inputs and positions:
                weight = min((self.parameters[base] for base in bases), key=len)
                bare.append(BareWeight(weight, tuple(factor.shape), positions, call=len(self.record.calls)))
            else:
                continue
            self._attributed += 2 * positions * factor.numel()
        if bare and 0 < self.counter.flops < self._attributed:
            self._attributed = 0  # a product of several weights, in an order of torch's own: counted as a whole
        else:
            self.record.bare_weights += bare
        return found

    def _layer_with(self, weight: Tensor, bases: frozenset[int]) -> AnyLayer | None:
        """The layer whose weight a tensor is, or is computed from within the layer; None if no layer has it."""
        innermost = self.innermost
        if isinstance(innermost, AnyLayer):
            own = stored_weight(innermost)
            if own is None or not bases or id(own) in bases:
                return innermost
        if len(bases) == 1 and (layer := self.owner.get(next(iter(bases)))) is not None and _same(weight, layer.weight):
            return layer
        return None

    def _use(self, module: AnyLayer, weight: Tensor, positions: int) -> Layer:
        name = self.names[module]
        layer = self.record.layers.setdefault(name, Layer(name, module))
        layer.derived |= stored_weight(module) is None or not _same(weight, module.weight)
        layer.positions += positions
        if module is not self.innermost:
            self.record.ran[name] += 1
        return layer

    def uncounted(self) -> str | None:
        """Why not all weights could be counted."""
        made = {id(parameter): name for name, parameter in self.net.named_parameters()}
        for parameter, place in self.foreign:
            if name := made.get(id(parameter)):
                return f"the network makes {name} in its first run; run it once before the transformation"
            return (
                f"{place} computes with a parameter that is not one of the network's own; expected its module in an "
                "attribute or an nn.ModuleList"
            )
        return None

    def _place(self) -> str:
        return f"{self.here() or 'the network'} ({type(self.innermost).__name__})"

    def _arguments(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        def numbered(leaf: Any) -> Any:
            return Value(self._value[id(leaf)]) if id(leaf) in self._value else leaf

        return tuple(map(numbered, args)), {key: numbered(value) for key, value in kwargs.items()}

    def entered(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.record.ran[self.names[module]] += 1
        self._called_with.append(self.values((args, kwargs)))
        if isinstance(module, AnyLayer) and (kwargs or len(args) != 1):
            self.record.more_arguments.add(self.names[module])

    def left(self, module: nn.Module, output: Any) -> None:
        self.record.runs[self.names[module]].append((self._called_with.pop(), self.values(output)))


def trace_modes(net: nn.Module, example: Example) -> Trace:
    """Run a network in evaluation mode and, if it can with this example, in training mode.

    nn.MultiheadAttention and other modules of linear layers are replaced by these layers. See `trace`.
    """
    net = with_linear_attention(net)
    record = _both(net, example)
    linear = with_linear_layers(record) if any(mode.bare_weights for mode in record.modes) else net
    return record if linear is net else _both(linear, example)


def _both(net: nn.Module, example: Example) -> Trace:
    record = trace(net, example)
    try:
        record.in_training = trace(net, example, training=True)
    except UserError as error:  # such as that of a network that needs labels in training mode
        warnings.warn(f"{error}; transformations are checked in evaluation mode alone", stacklevel=2)
    return record


def trace(
    net: nn.Module,
    example: Example,
    training: bool = False,
    subject: str = "the network",
    read: Sequence[Any] | None = None,
) -> Trace:
    """Run a meta copy of `net` once and record what happens.

    If it fails, it runs again with all tensors that its code makes on the meta device, and then with the values that
    its code reads in a run with values on the CPU.

    Args:
        net: The network, which is left unchanged.
        example: A batch of any size that the network takes; counts are for one sample.
        training: Run in training mode with two samples, which norms need, instead of in evaluation mode with one.
        subject: What a message calls the network.
        read: The values that the code reads, if they are known: `Trace.read` of the network that was transformed.

    Raises:
        UserError: The network does not run on the example, is compiled, or has a lazy layer.
    """
    require_plain(net)
    sized = sized_example(inputs_of(example), 2 if training else 1)
    try:
        return _traced(net, on_meta(sized), training, read)
    except Failed as error:
        failure, with_values = error, None
    if read is None:
        with suppress(Failed):
            return _traced(net, on_meta(sized), training, [])
        with_values = read_values(net, sized, training)
    if with_values is not None:
        try:
            return _traced(net, on_meta(sized), training, with_values)
        except Failed as error:
            failure = error
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors_in(sized))
    mode = " in training mode" if training else ""
    where = f"{failure.module or type(net).__name__}: {UNSHAPED.sub(MEANING, str(failure))}"
    if with_values is None:
        reason = f"{subject} cannot run{mode} on an example of shape {shapes}: {where}{hint(example)}"
    else:
        reason = f"{subject} runs{mode} with values, but not with shapes alone: {where}; {WAY_OUT}"
    raise UserError(reason) from failure.__cause__


def _traced(net: nn.Module, example: tuple[tuple, dict], training: bool, read: Sequence[Any] | None) -> Trace:
    """The trace of one run on the meta device, or `Failed`."""
    args, kwargs = example
    record = Trace(net, example, training, read)
    recorder = _Recorder(record, meta_copy(net).train(training))
    for tensor in tensors_in(example):
        recorder.new_value(tensor)
    with recorder.counter:
        output = recorder.run(args, kwargs)
    record.uncounted = recorder.uncounted()
    outputs = results_in(output)
    record.network_outputs = set(recorder.values(outputs))
    record.outputs = tuple(tensor.shape for tensor in outputs), _containers(output)
    for layer in record.layers.values():
        layer.module = layer_at(net, layer.name)  # the caller's, not the meta twin
    return record


def _same(tensor: Tensor, weight: Tensor) -> bool:
    """Whether a tensor is a weight, or a view of all of it."""
    return tensor is weight or (tensor.numel() == weight.numel() and storage(tensor) == storage(weight))


def _containers(output: Any) -> str:
    """A description of nested containers that leaves out the values in them."""
    return str(tree_map(lambda leaf: type(leaf).__name__, output))
