"""Changes with which a call works that does not fit the widths that arrive: of its numbers and of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations
from typing import Any

from torch import Tensor

from ..graph.examples import tensor_leaves
from ..graph.pytree import tree_flatten, tree_unflatten
from ..graph.watching import attempt
from .flow import Flow, Target
from .initialization import stretched
from .provenance import Marked, Origin
from .reference_run import Step, called

MOST_CHANGES = 3  # arguments of one call that change together


@dataclass(frozen=True)
class Knob:
    """A way to change one argument of a call: a number by its attribute, or a tensor by the parameters it comes from.

    Attributes:
        index: Place of the argument among the leaves of the arguments.
        origin: The attribute that the number comes from.
        part: "start" or "stop" if the argument is a slice.
        dim: The dimension of the tensor.
        targets: The dimensions of parameters that it comes from.
        direct: Whether the tensor is the parameter itself.
    """

    index: int
    origin: Origin | None = None
    part: str = ""
    dim: int = 0
    targets: tuple[Target, ...] = ()
    direct: bool = False

    def size(self, leaf: Any) -> int:
        """Return the size that would be multiplied."""
        return leaf.shape[self.dim] if self.targets else int(getattr(leaf, self.part) if self.part else leaf)

    def apply(self, leaf: Any, factor: Fraction) -> Any:
        """Return the changed argument; its size times the factor must be an integer."""
        size = int(self.size(leaf) * factor)
        if self.targets:
            return leaf.new_empty((*leaf.shape[: self.dim], size, *leaf.shape[self.dim + 1 :]))
        new = Marked(size, (getattr(leaf, self.part) if self.part else leaf).origins)
        if not self.part:
            return new
        return slice(new if self.part == "start" else leaf.start, new if self.part == "stop" else leaf.stop, leaf.step)


@dataclass(frozen=True)
class Change:
    """The result of a changed call, and the changes of the network that it needs."""

    result: Any
    knobs: Sequence[Knob]


def knobs_of(flow: Flow, leaves: Sequence[Any]) -> list[Knob]:
    """Return all ways to change one argument of a call."""
    return [knob for index, leaf in enumerate(leaves) for knob in _knobs(flow, index, leaf)]


def _knobs(flow: Flow, index: int, leaf: Any) -> Iterator[Knob]:
    if isinstance(leaf, slice):
        for part in ("start", "stop"):
            for origin in getattr(getattr(leaf, part), "origins", ()):
                yield Knob(index, origin=origin, part=part)
    elif isinstance(leaf, Marked):
        for origin in leaf.origins:
            yield Knob(index, origin=origin)
    elif isinstance(leaf, Tensor) and not flow.active(leaf):
        for dim in range(leaf.dim()):
            if leaf.shape[dim] > 1 and (targets := flow.targets(leaf, dim)):
                yield Knob(index, dim=dim, targets=targets, direct=flow.is_parameter(leaf))


def find_change(
    func, args: tuple, kwargs: dict[str, Any], flow: Flow, step: Step, factor: Fraction, failed: bool
) -> tuple[Change | None, int | None]:
    """Find the fewest changes of a call with which it works and its results have the dimensions expected.

    Args:
        step: The same call in the reference run.
        failed: Whether the call raised an exception as it is, so that its results need not differ from the reference.

    Returns:
        The change, or None and a size that `factor` does not multiply to an integer, if there is one.
    """
    leaves, structure = tree_flatten((args, kwargs), is_leaf=lambda leaf: isinstance(leaf, slice))
    knobs = knobs_of(flow, leaves)
    numbers = tuple(knob for knob in knobs if knob.origin)
    few = (chosen for count in range(1, MOST_CHANGES + 1) for chosen in combinations(reversed(knobs), count))
    odd = [size for knob in knobs if (size := knob.size(leaves[knob.index])) * factor % 1]
    for chosen in chain(few, [numbers]):
        changed = list(leaves)
        if any(knob.size(leaves[knob.index]) * factor % 1 for knob in chosen):
            continue
        for knob in chosen:
            changed[knob.index] = knob.apply(changed[knob.index], factor)
        new_args, new_kwargs = tree_unflatten(changed, structure)
        result, error = attempt(called, func, new_args, new_kwargs)
        if error is None:
            inputs, results = tensor_leaves((new_args, new_kwargs)), tensor_leaves(result)
            if step.scaled(results, factor, at_all=not failed) and step.keeps_places(inputs, results):
                return Change(result, chosen), None
    return None, odd[-1] if odd else None


class Committed:
    """The changes made so far, each of them once: code may go on with what it read before the change."""

    def __init__(self, factor: Fraction):
        self.factor = factor
        self._done: set[Origin | Target] = set()

    def commit(self, knobs: Sequence[Knob], flow: Flow) -> bool:
        """Make changes to the network.

        Returns:
            Whether the network must run again: a tensor has changed that was already used.
        """
        for knob in knobs:
            if knob.origin and knob.origin not in self._done:
                self._done.add(knob.origin)
                knob.origin.set(Marked(int(knob.origin.value * self.factor), (knob.origin,)))
            for target in set(knob.targets) - self._done:
                self._done.add(target)
                tensor = getattr(target.module, target.key)
                new = stretched(tensor, int(tensor.shape[target.dim] * self.factor), target.dim)
                setattr(target.module, target.key, new)
                flow.replaced(target.module, target.key, new)
        return any(knob.targets and not knob.direct for knob in knobs)

    def size(self, size: int) -> int:
        """Return a size of the code as it is after the attributes that it comes from have changed."""
        pending = set(getattr(size, "origins", ())) - self._done
        return int(size * self.factor) if pending else int(size)
