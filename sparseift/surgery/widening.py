"""Widen a network.

The network runs on the meta device, first unchanged (the reference run) and then with new numbers of outputs of its
layers. In this second run

- an embedding of the network's inputs is multiplied by the factor (`fitting`);
- a layer or a norm gets the number of input channels of its input;
- where a call fails, the parameters and buffers among its arguments (a layer scale, a positional embedding) change in
  the fewest dimensions with which it works;
- so do the numbers that the code takes from attributes of modules (a head width, the sizes of a split); attributes are
  marked before the run, so that a call shows which attribute an argument comes from;
- a reshape that splits a width into heads keeps their number (`heads`);
- a layer whose outputs do not fit the split or reshape that reads them (1 + 2 widths) gets the number that fits;
- an attribute that scales attention follows the width of the heads (`scales`).

A network is refused if its code or a torch function still raises an exception. Exceptions of this package's code are
faults and stay as they are. `adopt` makes the same changes to the real network.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from ..graph.copies import meta_copy, names_in
from ..graph.examples import tensor_leaves
from ..graph.layers import LAYER_FUNCTIONS, AnyLayer, channels_of
from ..graph.trace import Trace
from ..graph.watching import Failed, shapes
from .changes import find_change
from .computed import Computed
from .fitting import Again, Fitting, NotWhole
from .flow import Flow
from .heads import find_heads
from .provenance import Marked, Origin, leaves_in, mark, unmark
from .reference_run import RESHAPES, Reference, Step, attempt
from .scales import Scales

MOST_RUNS = 400


class FixedWidth(UserError):
    """The code of a module splits a width into another number of heads.

    Attributes:
        module: Name of the module.
    """

    def __init__(self, module: str, where: str, widths: list[int]):
        of = f", {widths[0]}" if widths else ""
        super().__init__(f"sparse_wide can't widen {where}: its code fixes the width of a head{of}")
        self.module = module


def widened(record: Trace, factor: Fraction, outputs: Callable[[str, bool, bool], int]) -> nn.Module:
    """Return a copy of a network on the meta device with other widths.

    Args:
        record: The trace of the network, in the mode in which all its layers run.
        factor: The factor of sizes other than outputs of layers.
        outputs: Returns the new number of outputs of a layer, given its name, whether the number of its input channels
            has changed, and whether its input is computed from the network's inputs without a layer in between.

    Raises:
        NotWhole: A size of the network times the factor is not an integer.
        UserError: The network can't be widened.
    """
    runner = meta_copy(record.net).train(record.training)
    try:
        before, numbers = names_in(runner), _numbers(runner)
        reference = Reference(runner, record.read).steps(*record.example)
        if made := [name for module, name in names_in(runner).items() if module not in before]:
            raise UserError(
                f"sparse_wide can't widen {made[0]}, which the network makes in its first run; run it once before the "
                "transformation"
            )
        find_heads(reference)
        counted = numbers.items() - _numbers(runner).items()
        mark(runner)
        _Widening(runner, record, factor, outputs, reference).settle()
        unmark(runner)
        for (module, key), value in counted:  # state of the network's code, such as a counter of its runs
            vars(module)[key] = value
        return runner
    except Failed as failure:
        raise UserError(
            f"sparse_wide can't widen {failure.module or 'the network'} ({failure.kind}): {failure}"
        ) from failure.__cause__


def _numbers(net: nn.Module) -> dict[tuple[nn.Module, str], int | float]:
    """The attributes of modules that are numbers."""
    return {(m, key): value for m in net.modules() for key, value in vars(m).items() if isinstance(value, int | float)}


class _Widening(Fitting):
    """The second run."""

    def __init__(
        self,
        net: nn.Module,
        record: Trace,
        factor: Fraction,
        outputs: Callable[[str, bool, bool], int],
        reference: list[Step],
    ):
        super().__init__(net, factor, outputs, record.read)
        self.example, self.reference = record.example, reference

    def settle(self) -> None:
        """Run until no tensor or attribute changes that was already used."""
        for _ in range(MOST_RUNS):
            self.position = 0
            self.begin(Flow(self.net, tensor_leaves(self.example)))
            self.scales, self.computed = Scales(), Computed(self.factor, self.reference)
            try:
                self.run(*self.example)
            except Again:
                continue
            except (Failed, FixedWidth) as failure:
                places = self.computed.candidates(self.net.get_submodule(failure.module))
                if pending := self.committed.pending(places, ()):
                    self.committed.change([place for place in pending[:1] if isinstance(place, Origin)], (), self.flow)
                    continue
                raise
            if not self.committed.change(self.computed.in_floats(), (), self.flow):
                self.scales.apply(self.net)
                return
        raise UserError(f"sparse_wide: the widths of {type(self.net).__name__} do not settle")

    def entered(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        super().entered(module, args, kwargs)
        self.computed.entered(module, args, kwargs)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with self.own_code():
            args, kwargs = self.fitted(func, args, kwargs)
            self._check_head_width(tensor_leaves((args, kwargs)))
            result, error = attempt(func, args, kwargs)
            if error is not None or (tensor_leaves(result) and self._left_behind(args, kwargs, result)):
                result, error = self._changed(func, args, kwargs, result, error)
            if results := tensor_leaves(result):
                self._check_chunks(results)
                self._note(func, args, kwargs, results)
        if error is not None:
            raise error
        return result

    @property
    def step(self) -> Step:
        """The same call in the reference run."""
        return self.reference[self.position] if self.position < len(self.reference) else Step("", [], [])

    def _note(self, func, args: tuple, kwargs: dict, results: list[Tensor]) -> None:
        inputs, where = tensor_leaves((args, kwargs)), self.here() or type(self.net).__name__
        if func.__name__ != self.step.name:
            raise UserError(f"sparse_wide: {where} takes another path through its code when its width changes")
        if not self.step.keeps_places(inputs, results):
            raise UserError(
                f"sparse_wide: {where} makes {tuple(results[0].shape)} of what was {tuple(self.step.results[0])}: "
                "a width has gone into another dimension"
            )
        if not self.step.keeps_heads(results):
            sizes = [self.step.results[0][dim] for dim in sorted(self.step.head_widths)]
            raise FixedWidth(self.here(), where, sizes)
        by_layer, innermost = func in LAYER_FUNCTIONS, self.innermost
        maker = innermost if by_layer and isinstance(innermost, AnyLayer) else None
        self.flow.note(inputs, results, by_layer, maker)
        self.computed.note(innermost, self.step, args, kwargs, inputs)
        self.scales.note(func, args, kwargs, results, self.step, innermost)
        self.position += 1

    def _check_head_width(self, inputs: list[Tensor]) -> None:
        """Raise `NotWhole` if a reshape splits a width into heads whose width the factor does not fit."""
        if self.step.heads and shapes(inputs[:1]) != self.step.arguments[:1]:
            for dim in self.step.head_widths - self.step.heads:
                if (size := self.step.results[0][dim]) * self.factor % 1:
                    raise NotWhole(size)

    def _check_chunks(self, results: list[Tensor]) -> None:
        """Raise `NotWhole` if chunks that were equal, such as queries and keys, are not equal any more."""
        if self.step.name in ("chunk", "tensor_split") and len(set(self.step.results)) == 1:
            now = shapes(results)
            if len(set(now)) > 1:
                pairs = zip(self.step.results[0], now[0], strict=True)
                raise NotWhole(next(before for before, after in pairs if before != after))

    def _left_behind(self, args: tuple, kwargs: dict, result: Any) -> bool:
        """Whether a call has its old result although an argument has changed.

        The reason is a number in the code, as in x[:, :width], or a reshape that puts the width into a dimension of -1.
        """
        inputs, results = tensor_leaves((args, kwargs)), tensor_leaves(result)
        if shapes(inputs) == self.step.arguments:
            return False
        if not self.step.keeps_places(inputs, results) or not self.step.keeps_heads(results):
            return True
        numbers = any(isinstance(leaf, Marked) for leaf in leaves_in((args, kwargs)))
        return numbers and not self.step.scaled(results, self.factor)

    def _changed(
        self, func, args: tuple, kwargs: dict, result: Any, error: Exception | None
    ) -> tuple[Any, Exception | None]:
        """The result of the call with the fewest changes with which it works, or that of the unchanged call."""
        failed = error is not None
        change, odd = find_change(func, args, kwargs, self.flow, self.step, self.committed, failed)
        if change is not None:
            if self.committed.commit(change.knobs, self.flow):
                raise Again
            return change.result, None
        if failed and odd:
            raise NotWhole(odd)
        if failed:
            self._fit_maker(func, args)
            self._check_split(args)
        return result, error

    def _check_split(self, args: tuple) -> None:
        """Raise `NotWhole` if a reshape that fails splits a width into pairs, as for rotary embeddings."""
        if self.step.name in RESHAPES and args and shapes([args[0]]) != self.step.arguments[:1]:
            odd = [size for size in self.step.results[0] if size * self.factor % 1 and size not in args[0].shape]
            if len(self.step.results[0]) > len(self.step.arguments[0]) and odd:
                raise NotWhole(max(odd))

    def _fit_maker(self, func, args: tuple) -> None:
        """Give a layer as many outputs as the split or reshape that reads them has in its sizes, and run again."""
        layer = self.flow.maker(args[0]) if args else None
        sizes = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else args[1:]
        if layer is None or layer in self.wanted or not all(isinstance(size, int) and size > 0 for size in sizes):
            return
        if not any(isinstance(size, Marked) for size in sizes):
            return  # constants of the code, which do not change with the width
        outputs, named = channels_of(layer)[1], [self.committed.size(size) for size in sizes]
        if func.__name__ in ("split", "split_with_sizes"):
            wanted = Fraction(sum(named))
        elif func.__name__ in ("view", "reshape"):
            wanted = Fraction(outputs * prod(named), args[0].numel())
        else:
            return
        if wanted not in (0, outputs) and wanted == int(wanted):
            self.wanted[layer] = int(wanted)
            self.done.discard(layer)
            raise Again
