"""Values that the code of a network reads from tensors that depend on its inputs, such as in `if x.isnan().any()`.

The meta device has none. One run with values on the CPU records them, for the runs on the meta device to take the same
path.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..common.seeds import uniform_like
from .copies import duplicate, without_cache
from .known_values import is_reader
from .pytree import tree_map_only
from .watching import same_random_numbers

MOST_BYTES = 2**33
"""Largest size of a network of which a copy with values is made."""


class _Recording(TorchFunctionMode):
    """Records what the functions return that read values of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Any] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if is_reader(func):
            self.values.append(result)
        return result


def read_values(net: nn.Module, example: tuple[tuple, dict], training: bool) -> list[Any] | None:
    """Return the values that the code reads in a run of the network, in this order.

    A network or an example on the meta device gets arbitrary values.

    Returns:
        The values; None if the network does not run on the example, or is too large.
    """
    tensors = [*net.parameters(), *net.buffers()]
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors) > MOST_BYTES:
        return None
    args, kwargs = tree_map_only(Tensor, _valued, example)
    try:
        twin = duplicate(net, {id(tensor): _valued(tensor) for tensor in tensors}).train(training)
        with torch.no_grad(), same_random_numbers(), without_cache(twin), _Recording() as recording:
            twin(*args, **kwargs)
    except Exception:  # of any code of the network, which fails on the meta device as well
        return None
    return recording.values


def _valued(tensor: Tensor) -> Tensor:
    """A copy on the CPU. Arbitrary values are small and positive, which norms and square roots take."""
    with torch.no_grad():
        if not tensor.is_meta:
            twin = tensor.detach().to("cpu", copy=True)
        elif tensor.is_floating_point():
            twin = (uniform_like(torch.empty(tensor.shape), seed=0) / 50 + 0.01).to(tensor.dtype)
        else:
            twin = torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(twin, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
