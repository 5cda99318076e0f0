"""What a network does as it is, call by call, and what must hold of a call when widths have changed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor, nn

from ..graph.examples import tensor_leaves
from ..graph.layers import LAYER_FUNCTIONS
from ..graph.recorder import Watching

RESHAPES = {"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"}
GROUPS = 6  # place of the groups among the arguments of a convolution


@dataclass
class Step:
    """A call of the reference run: its name and the shapes of its tensor arguments and results."""

    name: str
    arguments: list[torch.Size]
    results: list[torch.Size]

    def keeps_places(self, inputs: list[Tensor], results: list[Tensor]) -> bool:
        """Whether a reshape, now of `inputs` to `results`, merges and splits the dimensions that it did: where its
        first dimensions held as many elements before as after, they still do. True of all other calls."""
        if self.name not in RESHAPES or not self.arguments:
            return True
        old, new = (list(accumulate(shape, mul)) for shape in (self.arguments[0], self.results[0]))
        old_now, new_now = (list(accumulate(shape, mul)) for shape in shapes([inputs[0], results[0]]))
        if (len(old), len(new)) != (len(old_now), len(new_now)):
            return False
        ends = ((i, j) for i, count in enumerate(old) for j, other in enumerate(new) if count == other > 1)
        return all(old_now[i] == new_now[j] for i, j in ends)


class Reference(Watching):
    """Writes down the steps of a run."""

    def __init__(self, net: nn.Module):
        super().__init__(net)
        self.steps: list[Step] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if results := tensor_leaves(result):
            self.steps.append(Step(func.__name__, shapes(tensor_leaves((args, kwargs))), shapes(results)))
        return result


def called(func, args: tuple, kwargs: dict) -> Any:
    """The result of a call. The meta device alone would take filters that do not divide into the groups."""
    if func in LAYER_FUNCTIONS and ("groups" in kwargs or len(args) > GROUPS):
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        groups = kwargs["groups"] if "groups" in kwargs else args[GROUPS]
        if weight.shape[0] % groups:
            raise RuntimeError(f"{weight.shape[0]} filters do not divide into {groups} groups")
    return func(*args, **kwargs)


def storage(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()._cdata


def shapes(tensors: list[Tensor]) -> list[torch.Size]:
    with torch._C.DisableTorchFunction():
        return [tensor.shape for tensor in tensors]
