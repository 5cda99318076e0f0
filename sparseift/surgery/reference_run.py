"""The reference run: the calls of a network before it is widened."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor

from ..graph.calls import name_of
from ..graph.examples import tensor_leaves
from ..graph.layers import LAYER_FUNCTIONS
from ..graph.watching import Watching, shapes

RESHAPES = {"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"}
VIEWS = {
    "__getitem__", "__get__", "chunk", "expand", "expand_as", "movedim", "narrow", "permute", "select", "split",
    "split_with_sizes", "squeeze", "swapaxes", "swapdims", "t", "tensor_split", "transpose", "unbind", "unsqueeze",
}  # fmt: skip
"""Functions that return views of their first argument. Those of RESHAPES may merge and split dimensions."""
GROUPS = 6  # place of the groups among the arguments of a convolution


@dataclass
class Step:
    """A call of the reference run.

    Attributes:
        arguments, results: The shapes of its tensor arguments and results.
        inputs, outputs: The numbers of these tensors.
        active: Which of the arguments are computed from the network's inputs.
        origins: For a view, the dimension of the first argument that each dimension of each result is, or None.
        equation: The equation of an einsum.
        heads: Dimensions of the result of a reshape whose sizes stay.
        head_widths: Dimensions of the result of a reshape that may change in place of `heads`.
    """

    name: str
    arguments: list[torch.Size]
    results: list[torch.Size]
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    active: list[bool] = field(default_factory=list)
    origins: list[list[int | None]] | None = None
    equation: str = ""
    heads: set[int] = field(default_factory=set)
    head_widths: set[int] = field(default_factory=set)

    @property
    def plain_name(self) -> str:
        """The name without underscores."""
        return self.name.strip("_")

    def keeps_places(self, inputs: list[Tensor], results: list[Tensor]) -> bool:
        """Return whether a reshape merges and splits the same dimensions as in the reference run.

        Leading dimensions that had equal numbers of elements before and after the reshape must still have equal
        numbers; a dimension of one element, which may become wider, does not count with those before it. True for all
        other calls.

        Args:
            inputs: Tensor arguments of the same call in the present run.
            results: Results of the same call in the present run.
        """
        if self.name not in RESHAPES or not self.arguments:
            return True
        old, new = (list(accumulate(shape, mul)) for shape in (self.arguments[0], self.results[0]))
        old_now, new_now = (list(accumulate(shape, mul)) for shape in shapes([inputs[0], results[0]]))
        if (len(old), len(new)) != (len(old_now), len(new_now)):
            return False
        return all(old_now[old.index(count)] == new_now[new.index(count)] for count in set(old) & set(new))

    def keeps_heads(self, results: list[Tensor]) -> bool:
        """Return whether the result of a reshape has the `heads` of the reference run."""
        if not self.heads:
            return True
        (now,) = shapes(results)
        return all(now[dim] == self.results[0][dim] for dim in self.heads)

    def scaled(self, results: list[Tensor], factor: Any, at_all: bool = True) -> bool:
        """Return whether every dimension of the results is 1 or `factor` times that of the reference run.

        Args:
            at_all: Require that some dimension differs.
        """
        now, before = shapes(results), self.results
        if list(map(len, now)) != list(map(len, before)):
            return False
        pairs = [pair for new, old in zip(now, before, strict=True) for pair in zip(new, old, strict=True)]
        fitting = all(new in (old, old * factor) for new, old in pairs)
        return fitting and (not at_all or any(new != old for new, old in pairs))


class Reference(Watching):
    """Records the steps of a run."""

    def steps(self, args: tuple, kwargs: dict[str, Any]) -> list[Step]:
        """Run the network twice, and return the steps of the second run.

        Calls whose results the code caches are in the first run alone, and not in the runs that follow.
        """
        for _ in range(2):
            self._steps: list[Step] = []
            self._numbers: dict[int, int] = {}  # of tensors, by id()
            self._alive: list[Tensor] = []  # keeps id() unique
            self._active = {self._number(tensor) for tensor in tensor_leaves((args, kwargs))}
            self.run(args, kwargs)
        return self._steps

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with self.own_code():
            read = tensor_leaves((args, kwargs))
            before = shapes(read)
        result = func(*args, **kwargs)
        with self.own_code():
            if results := tensor_leaves(result):
                step = Step(func.__name__, before, shapes(results), list(map(self._number, read)))
                step.active = [number in self._active for number in step.inputs]
                step.outputs = [self._number(tensor, new=True) for tensor in results]
                step.origins = _origins(func, args, kwargs) if func.__name__ in VIEWS else None
                step.equation = args[0] if name_of(func) == "einsum" and isinstance(args[0], str) else ""
                self._active.update(step.outputs if any(step.active) else ())
                self._steps.append(step)
        return result

    def _number(self, tensor: Tensor, new: bool = False) -> int:
        """The number of a tensor; a new one after each call that returns it."""
        if new or id(tensor) not in self._numbers:
            self._alive.append(tensor)
            self._numbers[id(tensor)] = len(self._alive)
        return self._numbers[id(tensor)]


def _origins(func, args: tuple, kwargs: dict[str, Any]) -> list[list[int | None]] | None:
    """The dimensions of the first argument that those of the results are, by their strides in a contiguous tensor."""
    if not isinstance(args[0], Tensor) or len(tensor_leaves((args, kwargs))) != 1:
        return None
    probe = torch.empty(args[0].shape, device="meta")
    try:
        results = tensor_leaves(func(probe, *args[1:], **kwargs))
    except Exception:
        return None
    stride_of = {probe.stride(dim): dim for dim in range(probe.dim()) if probe.shape[dim] > 1}

    def origin(dim: int, result: Tensor) -> int | None:
        return stride_of.get(result.stride(dim)) if result.shape[dim] > 1 else None

    return [[origin(dim, result) for dim in range(result.dim())] for result in results]


def attempt(func, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, Exception | None]:
    """Call a torch function on the meta device.

    Returns:
        The result and None, or None and the exception that the function raised.
    """
    if func in LAYER_FUNCTIONS and ("groups" in kwargs or len(args) > GROUPS):
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        groups = kwargs["groups"] if "groups" in kwargs else args[GROUPS]
        if weight.shape[0] % groups:  # the meta device accepts it
            return None, RuntimeError(f"{weight.shape[0]} filters do not divide into {groups} groups")
    try:
        return func(*args, **kwargs), None
    except Exception as error:
        return None, error
