"""The reference run: the calls of a network before it is widened."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor

from ..graph.examples import tensor_leaves
from ..graph.layers import LAYER_FUNCTIONS
from ..graph.watching import Watching, shapes

RESHAPES = {"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"}
GROUPS = 6  # place of the groups among the arguments of a convolution


@dataclass
class Step:
    """A call of the reference run: its name, and the shapes of its tensor arguments and results."""

    name: str
    arguments: list[torch.Size]
    results: list[torch.Size]

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
            self.run(args, kwargs)
        return self._steps

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        with self.own_code():
            if results := tensor_leaves(result):
                self._steps.append(Step(func.__name__, shapes(tensor_leaves((args, kwargs))), shapes(results)))
        return result


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
