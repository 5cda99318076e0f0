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
from .provenance import Marked, Origin, Term
from .reference_run import Step, attempt

MOST_CHANGES = 3  # of the arguments of one call


@dataclass(frozen=True)
class Knob:
    """A possible change of one argument of a call: a number that comes from attributes, or a dimension of a tensor that
    comes from parameters.

    Attributes:
        index: Place of the argument among the leaves of the arguments.
        terms: The attributes that the number comes from.
        part: "start" or "stop", for a number in a slice.
        dim: The dimension, for a tensor.
        targets: The dimensions of parameters that `dim` comes from.
        direct: Whether the tensor is the parameter itself.
    """

    index: int
    terms: tuple[Term, ...] = ()
    part: str = ""
    dim: int = 0
    targets: tuple[Target, ...] = ()
    direct: bool = False

    def size(self, leaf: Any) -> int:
        """Return the size of the argument."""
        return leaf.shape[self.dim] if self.targets else int(getattr(leaf, self.part) if self.part else leaf)

    def new_size(self, leaf: Any, factor: Fraction) -> Fraction:
        """Return the changed size, which may be no integer."""
        size = self.size(leaf)
        return size * factor if self.targets else size + sum(term.amount for term in self.terms) * (factor - 1)

    def odd_size(self, leaf: Any, factor: Fraction) -> int | None:
        """Return a size that the factor does not multiply to an integer; None if there is none."""
        if self.new_size(leaf, factor) % 1:
            return self.size(leaf)
        sizes = (target.tensor.shape[target.dim] for target in self.targets)
        return next((size for size in sizes if size * factor % 1), None)

    def apply(self, leaf: Any, factor: Fraction) -> Any:
        """Return the changed argument. Its new size must be an integer."""
        size = int(self.new_size(leaf, factor))
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


def _knobs(flow: Flow, committed: Committed, index: int, leaf: Any) -> Iterator[Knob]:
    if isinstance(leaf, slice):
        for part in ("start", "stop"):
            for terms in committed.choices(getattr(leaf, part)):
                yield Knob(index, terms=terms, part=part)
    elif isinstance(leaf, Marked):
        for terms in committed.choices(leaf):
            yield Knob(index, terms=terms)
    elif isinstance(leaf, Tensor) and not flow.active(leaf):
        for dim in range(leaf.dim()):
            if leaf.shape[dim] > 1 and (targets := flow.targets(leaf, dim)):
                yield Knob(index, dim=dim, targets=targets, direct=flow.is_parameter(leaf))


def find_change(
    func, args: tuple, kwargs: dict[str, Any], flow: Flow, step: Step, committed: Committed, failed: bool
) -> tuple[Change | None, int | None]:
    """Find the fewest changes with which a call works and its results have dimensions of the reference run, or the
    factor times as large.

    Args:
        step: The same call in the reference run.
        failed: Whether the unchanged call raises an exception. Then the results need not differ from the reference run,
            as after a sum over a width.

    Returns:
        The change, and None; or None, and a size that the factor does not multiply to an integer, if there is one.
    """
    factor = committed.factor
    leaves, structure = tree_flatten((args, kwargs), is_leaf=lambda leaf: isinstance(leaf, slice))
    knobs = [knob for index, leaf in enumerate(leaves) for knob in _knobs(flow, committed, index, leaf)]
    numbers = tuple(knob for knob in knobs if knob.terms)
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
            self.change([term.origin for term in knob.terms], knob.targets, flow)
        return any(knob.targets and not knob.direct for knob in knobs)

    def change(self, origins: Iterable[Origin], targets: Iterable[Target], flow: Flow) -> bool:
        """Multiply attributes and dimensions of parameters by the factor. Return whether there was any to change."""
        new = self.pending(origins, targets)
        for place in new:
            self._done.add(place)
            if isinstance(place, Origin):
                place.set(Marked.of(place, int(place.value * self.factor)))
            else:
                length = int(place.tensor.shape[place.dim] * self.factor)
                flow.replace(place, stretched(place.tensor, length, place.dim))
        return bool(new)

    def pending(self, origins: Iterable[Origin], targets: Iterable[Target]) -> list[Origin | Target]:
        """Return those of the attributes and dimensions that have not been changed."""
        places: list[Origin | Target] = [*origins, *targets]
        return [place for place in dict.fromkeys(places) if place not in self._done]

    def choices(self, number: Any) -> Iterator[tuple[Term, ...]]:
        """Yield the choices of a number (see `Marked`) without terms that have their new values."""
        for choice in getattr(number, "choices", ()):
            if old := tuple(term for term in choice if not self._is_new(term)):
                yield old

    def _is_new(self, term: Term) -> bool:
        return term.origin in self._done and term.value == term.origin.value

    def size(self, size: int) -> int:
        """Return the new value of a size that the code has passed."""
        origins = {term.origin for choice in getattr(size, "choices", ()) for term in choice}
        return int(size * self.factor) if self.pending(origins, ()) else int(size)
