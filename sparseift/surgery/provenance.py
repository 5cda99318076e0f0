"""Numbers that remember which attribute of a module they came from, and the changes that a call can be tried with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn
from torch.utils._pytree import tree_leaves


class Marked(int):
    """An integer that remembers the attributes it was computed from, as (module, attribute, index in a sequence)."""

    origins: tuple[tuple[nn.Module, str, int | None], ...]

    def __new__(cls, value: int, origins: tuple) -> Marked:
        new = super().__new__(cls, value)
        new.origins = origins
        return new

    def __mul__(self, other: int) -> int:
        product = int(self) * other
        return Marked(product, self.origins + getattr(other, "origins", ())) if isinstance(other, int) else product

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> int:
        return Marked(int(self) // other, self.origins) if isinstance(other, int) else int(self) // other

    def __deepcopy__(self, memo: dict) -> int:
        return int(self)


@dataclass(frozen=True)
class Knob:
    """A way to change one argument of a call: a number by the attribute it came from (`origin`; `part` of a slice),
    or a tensor in dimension `dim` by the parameters it was made of (`targets`; `direct` if it is the parameter
    itself)."""

    index: int
    origin: tuple[nn.Module, str, int | None] | None = None
    part: str = ""
    dim: int = 0
    targets: tuple[tuple[nn.Module, str, int], ...] = ()
    direct: bool = False

    def size(self, leaf: Any) -> int:
        """What would be multiplied."""
        return leaf.shape[self.dim] if self.targets else int(getattr(leaf, self.part) if self.part else leaf)

    def apply(self, leaf: Any, factor: Fraction) -> Any:
        """The changed argument, where that is a whole number."""
        size = self.size(leaf) * factor
        if self.targets:
            return leaf.new_empty((*leaf.shape[: self.dim], int(size), *leaf.shape[self.dim + 1 :]))
        new = Marked(int(size), (getattr(leaf, self.part) if self.part else leaf).origins)
        if not self.part:
            return new
        return slice(new if self.part == "start" else leaf.start, new if self.part == "stop" else leaf.stop, leaf.step)


def constant(value: Any) -> bool:
    """Whether a value is a number, or a list or tuple of such and of strings: no tensors, and no modules, which belong
    to one network."""
    if isinstance(value, list | tuple):
        return all(item is None or isinstance(item, str) or constant(item) for item in value)
    return isinstance(value, int | float)


def mark(net: nn.Module) -> None:
    """Mark every integer attribute above 1 of the network's own modules, alone or in a list or tuple."""
    for module in net.modules():
        if type(module).__module__.startswith("torch.nn"):
            continue
        for key, value in list(vars(module).items()):
            if type(value) is int and value > 1:
                vars(module)[key] = Marked(value, ((module, key, None),))
            elif type(value) in (list, tuple) and constant(value) and any(type(item) is int for item in value):
                vars(module)[key] = type(value)(
                    Marked(item, ((module, key, i),)) if type(item) is int and item > 1 else item
                    for i, item in enumerate(value)
                )


def unmark(net: nn.Module) -> None:
    """Turn marked attributes into plain numbers again."""
    for module in net.modules():
        for key, value in list(vars(module).items()):
            if isinstance(value, Marked):
                vars(module)[key] = int(value)
            elif type(value) in (list, tuple) and any(isinstance(item, Marked) for item in value):
                vars(module)[key] = type(value)(int(item) if isinstance(item, Marked) else item for item in value)


def leaves_in(tree: Any) -> Iterator[Any]:
    for leaf in tree_leaves(tree, is_leaf=lambda leaf: isinstance(leaf, slice)):
        yield from (leaf.start, leaf.stop) if isinstance(leaf, slice) else (leaf,)
