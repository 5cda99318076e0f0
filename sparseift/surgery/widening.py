"""Give a network other layer widths, and let everything else follow the shapes that arrive.

The network runs twice on the meta device: as it is, which is the reference, and then with each layer's outputs
changed as it is reached. In the second run

- a layer or a norm takes as many input channels as arrive at it;
- a parameter or buffer that no longer fits the tensor it meets (a layer scale, a positional embedding) is changed in
  the fewest dimensions with which the call works;
- so is a number that the code takes from an attribute of a module (a head width, the sizes of a split): such attributes
  are marked before the run, so a call shows which attribute an argument came from;
- a layer whose outputs still do not fit the sizes that its reader names (a split into 1 + 2 widths) gets as many.

`adopt` then makes the same changes to the real network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, combinations
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from ..common.messages import one_line
from ..errors import UserError
from ..graph.copies import meta_copy
from ..graph.examples import tensor_leaves
from ..graph.layers import LAYER_FUNCTIONS, LAYERS, NORMS, layers_by_weight
from ..graph.meta_kernels import Shapes
from ..graph.recorder import Watching
from ..graph.trace import Trace
from .initialization import Initializer, stretched
from .provenance import Knob, Marked, leaves_in, mark, unmark
from .reference_run import GROUPS, Reference, Step, called, shapes, storage
from .resize import channels_of, resize_layer_, resize_norm_
from .transplant import own_tensors

FAILURES = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
MOST_CHANGES = 3  # arguments of one call that change together
MOST_RUNS = 400


class NotWhole(Exception):
    """A size of the network times the factor is no whole number: the factor must be a fraction that `size` allows."""

    def __init__(self, size: int):
        super().__init__(f"a size of {size} can't change by this factor")
        self.size = size


class _Again(Exception):
    """A tensor was changed that had already been used: run from the start."""


class Following(Watching):
    """The second run. outputs: the new number of output channels of a layer, given its name and whether what arrives
    at it has changed, or comes straight from the network's inputs."""

    def __init__(self, record: Trace, factor: Fraction, outputs: Callable[[str, bool, bool], int]):
        runner = meta_copy(record.net).train(record.training)
        args, kwargs = record.example
        reference = Reference(runner)
        with torch.no_grad(), Shapes():
            runner(*args, **kwargs)  # what the code computes once and keeps is then there in every run that follows
            with reference:
                runner(*args, **kwargs)
        reference.close()
        super().__init__(runner)
        self.net = runner
        self.args, self.kwargs = args, kwargs
        self.factor = factor
        self.outputs = outputs
        self.reference = reference.steps
        self.layers = layers_by_weight(runner)
        self.done: set[nn.Module] = set()
        self.scaled: set[tuple] = set()  # once each: code may go on with what it read before the change
        self.wanted: dict[nn.Module, int] = {}  # outputs of layers, by the sizes that their readers name
        self.initial = Initializer(())
        self.owned: list[Tensor] = []  # all that ever were the network's: none may leave its id() or storage to another
        mark(runner)

    def widen(self) -> nn.Module:
        """Run until nothing has to change any more; the meta network with its new shapes. Raises UserError."""
        for _ in range(MOST_RUNS):
            try:
                self._start()
                with torch.no_grad(), Shapes(), self:
                    self.net(*self.args, **self.kwargs)
                break
            except _Again:
                continue
            except UserError:
                raise
            except (*FAILURES, AssertionError, AttributeError, KeyError) as error:
                kind = type(self.stack[-1]).__name__ if self.stack else type(self.net).__name__
                raise UserError(
                    f"sparse_wide can't widen {self.here() or 'the network'} ({kind}): {one_line(error, whole=False)}"
                ) from error
        else:
            raise UserError(f"sparse_wide: the widths of {type(self.net).__name__} do not settle")
        self.close()
        unmark(self.net)
        return self.net

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in LAYER_FUNCTIONS:
            args, kwargs = self._layer(func, args, kwargs)
        elif func is F.layer_norm:
            args, kwargs = self._layer_norm(args, kwargs)
        try:
            result = called(func, args, kwargs)
        except FAILURES as error:
            result = self._changed(func, args, kwargs, error)
        else:
            if tensor_leaves(result) and self._left_behind(args, kwargs, result):
                result = self._changed(func, args, kwargs, None, result)
        if results := tensor_leaves(result):
            self._note(func, args, kwargs, results)
        return result

    def _start(self) -> None:
        self.stack.clear()
        self.position = 0
        self.keep: list[Any] = []  # so that no id() is used twice
        inputs = tensor_leaves((self.args, self.kwargs))
        self.active = {id(tensor) for tensor in inputs}
        self.layered: set[int] = set()
        self.makers: dict[int, nn.Module] = {}
        self.derived: dict[int, set[int]] = {}
        own = [(module, key, tensor) for module in self.net.modules() for key, tensor in own_tensors(module)]
        self.owned += [tensor for _, _, tensor in own]
        self.bases = {storage(tensor): (module, key) for module, key, tensor in own}

    def _step(self) -> Step:
        return self.reference[self.position] if self.position < len(self.reference) else Step("", [], [])

    def _note(self, func, args: tuple, kwargs: dict, results: list[Tensor]) -> None:
        if func.__name__ != self._step().name:
            raise UserError(f"sparse_wide: {self._where()} takes another path through its code when its width changes")
        inputs = tensor_leaves((args, kwargs))
        if not self._step().keeps_places(inputs, results):
            raise UserError(
                f"sparse_wide: {self._where()} makes {tuple(results[0].shape)} of what was "
                f"{tuple(self._step().results[0])}: a width has gone into another dimension"
            )
        if func in LAYER_FUNCTIONS and self.stack and isinstance(self.stack[-1], LAYERS):
            self.makers[id(results[0])] = self.stack[-1]
        self.position += 1
        self.keep.append(results)
        for result in results:
            if any(id(tensor) in self.active for tensor in inputs):
                self.active.add(id(result))
            if func in LAYER_FUNCTIONS or any(id(tensor) in self.layered for tensor in inputs):
                self.layered.add(id(result))
            self.derived[id(result)] = set().union(*(self._made_of(tensor) for tensor in inputs))

    def _made_of(self, tensor: Tensor) -> set[int]:
        base = storage(tensor)
        return {base} if base in self.bases else self.derived.get(id(tensor), set())

    # Layers and norms ------------------------------------------------------------------------------------------------

    def _layer(self, func, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        inputs = args[0] if args else kwargs["input"]
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        inside = self.stack and isinstance(self.stack[-1], LAYERS)
        layer = self.stack[-1] if inside else self.layers.get(id(weight))
        if layer is None:
            return args, kwargs
        old_weight, old_bias = layer.weight, layer.bias
        dim = inputs.dim() - 1 if isinstance(layer, nn.Linear) else inputs.dim() - len(layer.kernel_size) - 1
        self._resize(layer, inputs, dim)
        if weight is old_weight:
            swap = {id(old_weight): layer.weight, id(old_bias): layer.bias}
            args, kwargs = tree_map(lambda leaf: swap.get(id(leaf), leaf), (args, kwargs))
            self.layers[id(layer.weight)] = layer
        elif layer.weight is not old_weight:
            raise _Again  # the weight was standardised before its new shape was known
        bias = args[2] if len(args) > 2 else kwargs.get("bias")
        if layer.bias is not old_bias and bias is not None and bias is not layer.bias:
            raise _Again  # and so was something made of the bias
        if inside and len(args) == GROUPS + 1:
            args = (*args[:GROUPS], layer.groups)
        return args, kwargs

    def _resize(self, layer: nn.Module, arriving: Tensor, dim: int) -> None:
        channels, before = arriving.shape[dim], self._step().arguments[0][dim]
        inputs, outputs, groups = channels_of(layer)
        if layer in self.done:
            if channels != inputs:
                raise UserError(f"sparse_wide: {self.names[layer]} runs with {inputs} channels and with {channels}")
            return
        self.done.add(layer)
        fresh = id(arriving) in self.active and id(arriving) not in self.layered
        if groups > 1 and groups == inputs:
            new_outputs, groups = channels * (outputs // inputs), channels
        else:
            new_outputs = self.wanted.get(layer) or self.outputs(self.names[layer], channels != before, fresh)
        if "weight" not in layer._parameters and (channels, new_outputs) != (inputs, outputs):
            raise UserError(
                f"sparse_wide can't widen {self.names[layer]}: its weight is computed before use, as by weight norm "
                "and spectral norm"
            )
        resize_layer_(layer, channels, new_outputs, groups, self.initial)

    def _layer_norm(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        norm = self.stack[-1] if self.stack else None
        if not isinstance(norm, nn.LayerNorm) or len(norm.normalized_shape) != 1:
            return args, kwargs
        resize_norm_(norm, args[0].shape[-1])
        return (args[0], norm.normalized_shape, norm.weight, norm.bias, norm.eps), {}

    def _enter(self, module: nn.Module, args: tuple) -> None:
        super()._enter(module, args)
        if isinstance(module, NORMS) and not isinstance(module, nn.LayerNorm) and args and args[0].dim() > 1:
            with torch._C.DisableTorchFunction():  # this is no call of the network's
                resize_norm_(module, args[0].shape[1])

    # Everything else -------------------------------------------------------------------------------------------------

    def _left_behind(self, args: tuple, kwargs: dict, result: Any) -> bool:
        """Whether a number of the code kept results at old shapes although an argument has changed, x[:, :width], or
        a reshape put a width into a dimension that was none, which it left open."""
        inputs = tensor_leaves((args, kwargs))
        if shapes(inputs) == self._step().arguments:
            return False
        if not self._step().keeps_places(inputs, tensor_leaves(result)):
            return True
        return any(isinstance(leaf, Marked) for leaf in leaves_in((args, kwargs))) and not self._scaled(result)

    def _scaled(self, result: Any, at_all: bool = True) -> bool:
        """Whether every result has the dimensions of the reference or `factor` times these, and some have changed, if
        any must: a call that failed may be one that sums over a width."""
        now, before = shapes(tensor_leaves(result)), self._step().results
        if len(now) != len(before) or any(len(new) != len(old) for new, old in zip(now, before, strict=True)):
            return False
        pairs = [pair for new, old in zip(now, before, strict=True) for pair in zip(new, old, strict=True)]
        fitting = all(new in (old, old * self.factor) for new, old in pairs)
        return fitting and (not at_all or any(new != old for new, old in pairs))

    def _changed(self, func, args: tuple, kwargs: dict, error: Exception | None, otherwise: Any = None) -> Any:
        """The result of the call with the fewest of its numbers and parameters changed with which it works."""
        leaves, structure = tree_flatten((args, kwargs), is_leaf=lambda leaf: isinstance(leaf, slice))
        knobs = [knob for index in range(len(leaves)) for knob in self._knobs(index, leaves[index])]
        numbers = tuple(knob for knob in knobs if knob.origin)
        few = (chosen for count in range(1, MOST_CHANGES + 1) for chosen in combinations(reversed(knobs), count))
        for chosen in chain(few, [numbers]):
            changed = list(leaves)
            if any(knob.size(leaves[knob.index]) * self.factor % 1 for knob in chosen):
                continue
            for knob in chosen:
                changed[knob.index] = knob.apply(changed[knob.index], self.factor)
            new_args, new_kwargs = tree_unflatten(changed, structure)
            try:
                result = called(func, new_args, new_kwargs)
            except FAILURES:
                continue
            inputs, results = tensor_leaves((new_args, new_kwargs)), tensor_leaves(result)
            if self._scaled(result, at_all=error is None) and self._step().keeps_places(inputs, results):
                self._commit(chosen)
                return result
        if error is None:
            return otherwise
        odd = [size for knob in knobs if (size := knob.size(leaves[knob.index])) * self.factor % 1]
        if odd:
            raise NotWhole(odd[-1])
        self._fit_maker(func, args)
        raise error

    def _fit_maker(self, func, args: tuple) -> None:
        """Give the layer that made a tensor as many outputs as its reader names, and run again."""
        layer = self.makers.get(id(args[0])) if args else None
        sizes = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else args[1:]
        if layer is None or layer in self.wanted or not all(isinstance(size, int) and size > 0 for size in sizes):
            return
        if not any(isinstance(size, Marked) for size in sizes):
            return  # constants of the code: the layer would lose its width
        outputs, named = channels_of(layer)[1], [self._scaled_once(size) for size in sizes]
        if func.__name__ in ("split", "split_with_sizes"):
            wanted = sum(named)
        elif func.__name__ in ("view", "reshape"):
            wanted = Fraction(outputs * prod(named), args[0].numel())
        else:
            return
        if wanted not in (0, outputs) and wanted == int(wanted):
            self.wanted[layer] = int(wanted)
            self.done.discard(layer)
            raise _Again

    def _scaled_once(self, size: int) -> int:
        """A size of the code as it is after the attributes that it comes from are scaled."""
        pending = set(getattr(size, "origins", ())) - self.scaled
        return int(size * self.factor) if pending else int(size)

    def _knobs(self, index: int, leaf: Any) -> Iterator[Knob]:
        if isinstance(leaf, slice):
            for part in ("start", "stop"):
                for origin in getattr(getattr(leaf, part), "origins", ()):
                    yield Knob(index, origin=origin, part=part)
        elif isinstance(leaf, Marked):
            for origin in leaf.origins:
                yield Knob(index, origin=origin)
        elif isinstance(leaf, Tensor) and id(leaf) not in self.active:
            made_of = self._made_of(leaf)
            for dim in range(leaf.dim()):
                targets = [target for base in made_of if (target := self._base_dim(leaf, dim, base))]
                if leaf.shape[dim] > 1 and targets and len(targets) == len(made_of):
                    yield Knob(index, dim=dim, targets=tuple(targets), direct=self._is_base(leaf))

    def _is_base(self, leaf: Tensor) -> bool:
        base = self.bases.get(storage(leaf))
        return base is not None and getattr(*base) is leaf

    def _base_dim(self, leaf: Tensor, dim: int, base: int) -> tuple[nn.Module, str, int] | None:
        """The dimension of a parameter that `dim` of something made from it comes from: by stride for a view of it,
        by size for a copy."""
        module, key = self.bases[base]
        tensor = getattr(module, key)
        if storage(leaf) == base:
            same = [d for d in range(tensor.dim()) if tensor.stride(d) == leaf.stride(dim) and tensor.shape[d] > 1]
        else:
            same = [d for d in range(tensor.dim()) if tensor.shape[d] == leaf.shape[dim] or tensor.dim() == 1]
        return (module, key, same[0]) if same else None

    def _commit(self, chosen: Sequence[Knob]) -> None:
        again = False
        for knob in chosen:
            if knob.origin and knob.origin not in self.scaled:
                self.scaled.add(knob.origin)
                self._scale_attribute(*knob.origin)
            for module, key, dim in set(knob.targets) - self.scaled:
                self.scaled.add((module, key, dim))
                tensor = getattr(module, key)
                new = stretched(tensor, int(tensor.shape[dim] * self.factor), dim)
                setattr(module, key, new)
                self.owned.append(new)
                self.bases[storage(new)] = (module, key)
            again |= bool(knob.targets) and not knob.direct
        if again:
            raise _Again

    def _scale_attribute(self, module: nn.Module, key: str, index: int | None) -> None:
        value = vars(module)[key]
        old = int(value if index is None else value[index])
        new = Marked(int(old * self.factor), ((module, key, index),))
        vars(module)[key] = (
            new
            if index is None
            else type(value)(new if position == index else item for position, item in enumerate(value))
        )
        for name, number in vars(module).items():  # such as the scale of attention, 1 / sqrt(head width)
            if isinstance(number, float) and number == old**-0.5:
                vars(module)[name] = float(new) ** -0.5

    def _where(self) -> str:
        return self.here() or type(self.net).__name__
