"""Attributes that scale attention: 1 / sqrt(d), for queries and keys of width d (Vaswani et al. 2017, section 3.2.1).

Such an attribute is computed when the network is built, so it must change where d changes. A float attribute is a scale
of attention if

- its value is exactly 1 / sqrt(d), and the code multiplies a factor or the result of a matrix product that sums over d
  by it, or passes it to the product as its scale; or
- its value is exactly 1 / sqrt(d), its name is `scale`, and its module calls `F.scaled_dot_product_attention`, whose
  default scale has the same value, for queries of width d.

A network is refused if neither holds, but a module with such a product computes in Python with an attribute `scale` of
this value: the result can't be followed. All other floats are constants.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from ..graph.copies import names_in
from ..graph.examples import tensor_leaves
from ..graph.pytree import tree_leaves
from .heads import ATTENTION
from .provenance import MarkedFloat, Origin
from .reference_run import RESHAPES, Step

MULTIPLY = {"mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__"}
MOVES = RESHAPES | {
    "__getitem__", "chunk", "clone", "contiguous", "expand", "float", "movedim", "permute", "roll", "split", "squeeze",
    "swapaxes", "tensor_split", "to", "transpose", "type_as", "unbind", "unsqueeze", "__get__",
}  # fmt: skip
"""Functions that return the values of a tensor in another order, shape or type."""
MATRIX = {"matmul", "__matmul__", "bmm", "baddbmm", ATTENTION}
FIRST = {"baddbmm": 1}  # place of the first factor, if it is not the first tensor
LAWS: tuple[Callable[[int], float], ...] = (lambda width: width**-0.5, lambda width: 1 / sqrt(width))


class Scales:
    """Finds the attributes that scale attention in one run of a network, and their values for the new widths."""

    def __init__(self) -> None:
        self._factors: dict[int, set[Origin]] = {}  # of tensors, by id(): what they were multiplied by
        self._widths: dict[int, tuple[int, int]] = {}  # of products, by id(): the sizes summed over, before and now
        self._products: list[tuple[nn.Module, int]] = []
        self._new: dict[Origin, float] = {}

    def note(self, func, args: tuple, kwargs: dict[str, Any], results: list[Tensor], step: Step, module: nn.Module):
        """Note a call of the network.

        Args:
            step: The same call in the reference run.
            module: The innermost module that is running.
        """
        name, inputs = func.__name__, tensor_leaves((args, kwargs))
        marked = {leaf.origin for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, MarkedFloat)}
        if widths := _summed_over(name, args, step, inputs):
            first = FIRST.get(name, 0)
            origins = set[Origin]().union(*(self._factors.get(id(x), ()) for x in inputs[first : first + 2]))
            origins |= {leaf.origin for key in ("scale", "alpha") if isinstance(leaf := kwargs.get(key), MarkedFloat)}
            if name == ATTENTION and kwargs.get("scale") is None and (scale := _named_scale(module)) is not None:
                origins.add(scale.origin)
            self._link(origins, widths)
            self._products.append((module, widths[0]))
            self._widths |= {id(result): widths for result in results}
        elif len(inputs) == 1 and (name in MOVES or (name in MULTIPLY and marked)):
            if widths := self._widths.get(id(inputs[0])):
                self._link(marked, widths)
                self._widths |= {id(result): widths for result in results}
            else:
                factors = self._factors.get(id(inputs[0]), set()) | marked
                self._factors |= {id(result): factors for result in results}

    def apply(self, net: nn.Module) -> None:
        """Set the attributes to their new values.

        Raises:
            UserError: Code computes in Python with an attribute `scale`.
        """
        names = names_in(net)
        for module, width in self._products:
            scale = _named_scale(module)
            if scale is None or not scale.computed_with or scale.origin in self._new:
                continue
            if any(scale == law(width) for law in LAWS):
                raise UserError(
                    f"sparse_wide can't widen {names[module] or 'the network'} ({type(module).__name__}): "
                    f"its code computes with scale={scale:g}, 1 / sqrt({width}), instead of multiplying a tensor by it"
                )
        for origin, value in self._new.items():
            origin.set(value)

    def _link(self, origins: set[Origin], widths: tuple[int, int]) -> None:
        before, now = widths
        for origin in origins:
            law = next((law for law in LAWS if origin.value == law(before)), None)
            if law and self._new.setdefault(origin, law(now)) != law(now):
                raise UserError(f"sparse_wide: {origin.key} scales several products, which now have different widths")


def _named_scale(module: nn.Module) -> MarkedFloat | None:
    value = vars(module).get("scale")
    return value if isinstance(value, MarkedFloat) else None


def _summed_over(name: str, args: tuple, step: Step, inputs: list[Tensor]) -> tuple[int, int] | None:
    """The size that a matrix product sums over, in the reference run and now."""
    if name in MATRIX:
        first = FIRST.get(name, 0)
        return step.arguments[first][-1], inputs[first].shape[-1]
    if name == "einsum" and len(inputs) == 2 and isinstance(args[0], str) and "..." not in args[0]:
        terms, _, output = args[0].replace(" ", "").partition("->")
        left, _, right = terms.partition(",")
        summed = (set(left) & set(right)) - set(output)
        if len(summed) == 1:
            place = left.index(summed.pop())
            return step.arguments[0][place], inputs[0].shape[place]
    return None
