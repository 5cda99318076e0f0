"""Numbers that remember which attribute of a module they come from."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from ..graph.copies import constant
from ..graph.layers import AnyLayer
from ..graph.pytree import tree_leaves


@dataclass(frozen=True)
class Origin:
    """An attribute of a module, or an item of one that is a list or tuple."""

    module: nn.Module
    key: str
    index: int | None = None

    @property
    def value(self) -> Any:
        """The present number."""
        value = vars(self.module)[self.key]
        return value if self.index is None else value[self.index]

    def set(self, number: int | float) -> None:
        """Replace the number."""
        value = vars(self.module)[self.key]
        if self.index is not None:
            number = type(value)(number if place == self.index else item for place, item in enumerate(value))
        vars(self.module)[self.key] = number


@dataclass(frozen=True)
class Term:
    """The part of an integer that is proportional to an attribute.

    Attributes:
        value: The attribute, when it was read.
        amount: The part of the integer.
    """

    origin: Origin
    value: int
    amount: Fraction

    def times(self, other: Fraction) -> Term:
        return Term(self.origin, self.value, self.amount * other)


class Marked(int):
    """An integer that remembers the attributes that it was computed from by sums, products and floor divisions.

    Attributes:
        choices: The terms to change, if the integer is to change: those of one factor of a product, all of a sum.
        floats: For an attribute, the integers computed from it of which the code has computed floats.
    """

    choices: tuple[tuple[Term, ...], ...]
    floats: set[int]

    def __new__(cls, value: int, choices: tuple[tuple[Term, ...], ...]) -> Marked:
        new = super().__new__(cls, value)
        new.choices, new.floats = choices, set()
        return new

    def note_float(self) -> None:
        """Note that the code has computed a float of it."""
        for origin in {term.origin for choice in self.choices for term in choice}:
            if isinstance(origin.value, Marked):
                origin.value.floats.add(int(self))

    @classmethod
    def of(cls, origin: Origin, value: int) -> Marked:
        """Return an attribute's value, marked."""
        return cls(value, ((Term(origin, value, Fraction(value)),),))

    def _scaled(self, other: Fraction) -> tuple[tuple[Term, ...], ...]:
        return tuple(tuple(term.times(other) for term in choice) for choice in self.choices)

    def __mul__(self, other: int) -> int:
        if not isinstance(other, int):
            return int(self) * other
        more = other._scaled(Fraction(int(self))) if isinstance(other, Marked) else ()
        return Marked(int(self) * int(other), self._scaled(Fraction(int(other))) + more)

    __rmul__ = __mul__

    def __add__(self, other: int) -> int:
        if not isinstance(other, Marked):
            return int(self) + other
        return Marked(int(self) + int(other), tuple((*a, *b) for a in self.choices for b in other.choices))

    def __floordiv__(self, other: int) -> int:
        if not isinstance(other, int):
            return int(self) // other
        return Marked(int(self) // int(other), self._scaled(Fraction(1, int(other))))

    def __float__(self) -> float:  # math.sqrt calls it, too
        self.note_float()
        return float(int(self))

    def __truediv__(self, other: float) -> float:
        self.note_float()
        return int(self) / other

    def __rtruediv__(self, other: float) -> float:
        self.note_float()
        return other / int(self)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        self.note_float()
        return pow(int(self), other, modulo)

    def __deepcopy__(self, memo: dict) -> int:
        return int(self)


class MarkedFloat(float):
    """A float that remembers its attribute.

    Attributes:
        computed_with: Whether the network's code has computed with it in Python. The result is a plain float.
    """

    origin: Origin
    computed_with: bool

    def __new__(cls, value: float, origin: Origin) -> MarkedFloat:
        new = super().__new__(cls, value)
        new.origin, new.computed_with = origin, False
        return new

    def __deepcopy__(self, memo: dict) -> float:
        return float(self)


def _note_computing(name: str) -> None:
    """Make an operator of `MarkedFloat` note its use, unless the other operand, a tensor, computes the result."""
    compute = getattr(float, name)

    def noted(self: MarkedFloat, *others: Any) -> Any:
        result = compute(self, *others)
        self.computed_with |= result is not NotImplemented
        return result

    setattr(MarkedFloat, name, noted)


for _operator in ("mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "add", "radd", "sub", "rsub", "neg"):
    _note_computing(f"__{_operator}__")


CHANNELS = {"in_features", "out_features", "in_channels", "out_channels"}


def mark(net: nn.Module) -> None:
    """Mark the attributes of the network's own modules that are floats, integers above 1, or lists or tuples of these.

    Of the modules of torch.nn, only the numbers of channels of layers are marked: other code may read them before the
    layer has run. `resize` sets all their attributes.
    """
    for module in net.modules():
        of_torch = type(module).__module__.startswith("torch.nn")
        for key, value in list(vars(module).items()):
            if of_torch and not (key in CHANNELS and isinstance(module, AnyLayer)):
                continue
            if type(value) is float:
                vars(module)[key] = MarkedFloat(value, Origin(module, key))
            elif type(value) in (list, tuple) and constant(value) and any(type(item) is int for item in value):
                vars(module)[key] = type(value)(_marked(item, Origin(module, key, i)) for i, item in enumerate(value))
            else:
                vars(module)[key] = _marked(value, Origin(module, key))


def _marked(value: Any, origin: Origin) -> Any:
    return Marked.of(origin, value) if type(value) is int and value > 1 else value


def unmark(net: nn.Module) -> None:
    """Turn marked attributes into plain numbers."""
    for module in net.modules():
        for key, value in list(vars(module).items()):
            if constant(value):
                vars(module)[key] = copy.deepcopy(value)  # which is plain


def leaves_in(tree: Any) -> Iterator[Any]:
    """Yield the leaves of nested containers, with the start and the stop of slices."""
    for leaf in tree_leaves(tree, is_leaf=lambda leaf: isinstance(leaf, slice)):
        yield from (leaf.start, leaf.stop) if isinstance(leaf, slice) else (leaf,)
