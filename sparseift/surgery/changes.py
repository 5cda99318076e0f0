"""Changes of the arguments of a call that does not fit the new widths: of its numbers and of its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations
from typing import Any

from torch import Tensor

from ..graph.examples import tensor_leaves
from ..graph.pytree import tree_flatten, tree_unflatten
from .flow import Flow, Target
from .initialization import stretched
from .provenance import Marked, Origin
from .reference_run import Step, attempt

MOST_CHANGES = 3  # of the arguments of one call


@dataclass(frozen=True)
class Knob:
    """A possible change of one argument of a call: a number that comes from attributes, or a dimension of a tensor that
    comes from parameters.

    Attributes:
        index: Place of the argument among the leaves of the arguments.
        origins: The attributes, for a number.
        part: "start" or "stop", for a number in a slice.
        dim: The dimension, for a tensor.
        targets: The dimensions of parameters that `dim` comes from.
        direct: Whether the tensor is the parameter itself.
    """

    index: int
    origins: tuple[Origin, ...] = ()
    part: str = ""
    dim: int = 0
    targets: tuple[Target, ...] = ()
    direct: bool = False

    def size(self, leaf: Any) -> int:
        """Return the size to multiply."""
        return leaf.shape[self.dim] if self.targets else int(getattr(leaf, self.part) if self.part else leaf)

    def odd_size(self, leaf: Any, factor: Fraction) -> int | None:
        """Return a size that the factor does not multiply to an integer; None if there is none."""
        sizes = (self.size(leaf), *(target.tensor.shape[target.dim] for target in self.targets))
        return next((size for size in sizes if size * factor % 1), None)

    def apply(self, leaf: Any, factor: Fraction) -> Any:
        """Return the changed argument. Its size times the factor must be an integer."""
        size = int(self.size(leaf) * factor)
        if self.targets:
            return leaf.new_empty((*leaf.shape[: self.dim], size, *leaf.shape[self.dim + 1 :]))
        new = Marked(size, (getattr(leaf, self.part) if self.part else leaf).choices)
        if not self.part:
            return new
        return slice(new if self.part == "start" else leaf.start, new if self.part == "stop" else leaf.stop, leaf.step)


@dataclass(frozen=True)
class Change:
    """A changed call that works: its result, and the changes."""

    result: Any
    knobs: Sequence[Knob]


def _knobs(flow: Flow, index: int, leaf: Any) -> Iterator[Knob]:
    if isinstance(leaf, slice):
        for part in ("start", "stop"):
            for origins in getattr(getattr(leaf, part), "choices", ()):
                yield Knob(index, origins=origins, part=part)
    elif isinstance(leaf, Marked):
        for origins in leaf.choices:
            yield Knob(index, origins=origins)
    elif isinstance(leaf, Tensor) and not flow.active(leaf):
        for dim in range(leaf.dim()):
            if leaf.shape[dim] > 1 and (targets := flow.targets(leaf, dim)):
                yield Knob(index, dim=dim, targets=targets, direct=flow.is_parameter(leaf))


def find_change(
    func, args: tuple, kwargs: dict[str, Any], flow: Flow, step: Step, factor: Fraction, failed: bool
) -> tuple[Change | None, int | None]:
    """Find the fewest changes with which a call works and its results have dimensions of the reference run or `factor`
    times as large.

    Args:
        step: The same call in the reference run.
        failed: Whether the unchanged call raises an exception. Then the results need not differ from the reference run,
            as after a sum over a width.

    Returns:
        The change, and None; or None, and a size that `factor` does not multiply to an integer, if there is one.
    """
    leaves, structure = tree_flatten((args, kwargs), is_leaf=lambda leaf: isinstance(leaf, slice))
    knobs = [knob for index, leaf in enumerate(leaves) for knob in _knobs(flow, index, leaf)]
    numbers = tuple(knob for knob in knobs if knob.origins)
    few = (chosen for count in range(1, MOST_CHANGES + 1) for chosen in combinations(reversed(knobs), count))
    odd = [size for knob in knobs if (size := knob.odd_size(leaves[knob.index], factor))]
    for chosen in chain(few, [numbers]):
        changed = list(leaves)
        if any(knob.odd_size(leaves[knob.index], factor) for knob in chosen):
            continue
        for knob in chosen:
            changed[knob.index] = knob.apply(changed[knob.index], factor)
        new_args, new_kwargs = tree_unflatten(changed, structure)
        result, error = attempt(func, new_args, new_kwargs)
        if error is None:
            inputs, results = tensor_leaves((new_args, new_kwargs)), tensor_leaves(result)
            scaled = step.scaled(results, factor, at_all=not failed)
            if scaled and step.keeps_places(inputs, results) and step.keeps_heads(results):
                return Change(result, chosen), None
    return None, odd[-1] if odd else None


class Committed:
    """Makes changes to the network, each of them once: later calls may still have values from before a change."""

    def __init__(self, factor: Fraction):
        self.factor = factor
        self._done: set[Origin | Target] = set()

    def commit(self, knobs: Sequence[Knob], flow: Flow) -> bool:
        """Make changes to the network.

        Returns:
            Whether the network must run again because a tensor has changed that was already used.
        """
        for knob in knobs:
            self.change(knob.origins, knob.targets, flow)
        return any(knob.targets and not knob.direct for knob in knobs)

    def change(self, origins: Iterable[Origin], targets: Iterable[Target], flow: Flow) -> bool:
        """Multiply attributes and dimensions of parameters by the factor. Return whether there was any to change."""
        new = self.pending(origins, targets)
        for place in new:
            self._done.add(place)
            if isinstance(place, Origin):
                place.set(Marked(int(place.value * self.factor), ((place,),)))
            else:
                length = int(place.tensor.shape[place.dim] * self.factor)
                flow.replace(place, stretched(place.tensor, length, place.dim))
        return bool(new)

    def pending(self, origins: Iterable[Origin], targets: Iterable[Target]) -> list[Origin | Target]:
        """Return those of the attributes and dimensions that have not been changed."""
        places: list[Origin | Target] = [*origins, *targets]
        return [place for place in dict.fromkeys(places) if place not in self._done]

    def size(self, size: int) -> int:
        """Return the new value of a size that the code has passed."""
        origins = {origin for choice in getattr(size, "choices", ()) for origin in choice}
        return int(size * self.factor) if self.pending(origins, ()) else int(size)
