"""Attributes that are widths but are no arguments of a call that fails: those of which the code computes other values.

Code may compute the scale of attention as `self.head_dim ** -0.5`, or assert that its input has `self.width` channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from fractions import Fraction
from math import sqrt
from typing import Any

from torch import Tensor, nn

from ..graph.examples import tensor_leaves
from ..graph.formulas import SCALINGS
from ..graph.pytree import tree_leaves
from ..graph.watching import shapes
from .heads import ATTENTION, MATRIX
from .provenance import Marked, Origin
from .reference_run import Step
from .scales import LAWS as OF_SCALES

PRODUCTS = {*MATRIX, ATTENTION, "einsum"}

LAWS: tuple[Callable[[int], float], ...] = (*OF_SCALES, lambda width: width, lambda width: 1 / width, sqrt)
"""What code may compute of a width."""


class Computed:
    """The widths that each module has computed with in one run.

    Args:
        factor: The factor of widths.
        steps: The steps of the reference run.
    """

    def __init__(self, factor: Fraction, steps: Iterable[Step]):
        self._factor = factor
        self._widths: dict[nn.Module, set[int]] = defaultdict(set)  # before
        self._factors: dict[nn.Module, set[float]] = defaultdict(set)  # numbers that activations are multiplied by
        self._head_widths = {step.results[0][dim] for step in steps if step.heads for dim in step.head_widths}

    def entered(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """Note the inputs of a module."""
        sizes = {size for shape in shapes(tensor_leaves((args, kwargs))) for size in shape}
        self._widths[module] |= {int(size / self._factor) for size in sizes if size / self._factor % 1 == 0}

    def note(self, module: nn.Module, step: Step, args: tuple, kwargs: dict[str, Any], tensors: list[Tensor]) -> None:
        """Note a call of a module, with the tensors that it reads."""
        for now, before in zip(shapes(tensors), step.arguments, strict=False):
            if len(now) == len(before):
                self._widths[module] |= {old for new, old in zip(now, before, strict=True) if new != old}
        if any(step.active) and (step.plain_name in SCALINGS or step.plain_name in PRODUCTS):
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, float | Marked):
                    self._factors[module].add(float(leaf))

    def in_floats(self) -> list[Origin]:
        """Return the attributes that are changed widths of which code computes a factor, such as a scale."""
        return [
            Origin(module, key)
            for module, widths in self._widths.items()
            for key, value in vars(module).items()
            if isinstance(value, Marked)
            if any(law(size) in self._factors[module] for size in value.floats & widths for law in LAWS)
        ]

    def candidates(self, module: nn.Module) -> list[Origin]:
        """Return the attributes of a module, whose code fails, that may be widths: first those of its inputs."""
        found = {key: int(value) for key, value in vars(module).items() if isinstance(value, Marked)}
        whole = {key: value for key, value in found.items() if value * self._factor % 1 == 0}
        return [
            Origin(module, key)
            for widths in (self._widths[module], self._head_widths)
            for key, value in whole.items()
            if value in widths
        ]
