"""Weights that are sharded over the ranks of a run: DTensors, such as those of torch's `fully_shard`.

This file alone knows of DTensors. Its functions return other tensors as they are, without a copy. Those that gather
from the ranks or add up over them must be called on all ranks.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a tensor is a DTensor, of which each rank stores a part."""
    module = sys.modules.get("torch.distributed.tensor")  # takes a second to import; before, there are no DTensors
    return module is not None and isinstance(tensor, module.DTensor)


@torch.no_grad()
def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this rank stores, as a view. It may be empty."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """Return the whole tensor, gathered from the ranks."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def whole_parameter(parameter: Tensor, gradient: bool) -> Tensor:
    """Return a parameter as one tensor, gathered from the ranks.

    Args:
        gradient: Whether to gather the gradient of a sharded parameter, too, as the gradient of the result.
    """
    if not is_sharded(parameter):
        return parameter
    gathered = whole(parameter)
    if gradient and parameter.grad is not None:
        gathered.grad = whole(parameter.grad)
    return gathered


@torch.no_grad()
def sharded_as(like: Tensor, values: Tensor) -> Tensor:
    """Return the values as a tensor that is sharded as `like`.

    Args:
        like: A tensor of the shape of `values`.
        values: The same on all ranks.
    """
    if not is_sharded(like):
        return values
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(values, like.device_mesh, like.placements, src_data_rank=None)


def part_of(like: Tensor, values: Tensor) -> Tensor:
    """Return the part of the values that this rank stores of `like`, a tensor of the same shape."""
    return local(sharded_as(like, values))


@torch.no_grad()
def joined(like: Tensor, part: Tensor) -> Tensor:
    """Invert `part_of`."""
    if not is_sharded(like):
        return part
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    mesh, placements = like.device_mesh, like.placements
    return whole(DTensor.from_local(part, mesh, placements, run_check=False, shape=like.shape, stride=like.stride()))


@torch.no_grad()
def summed(like: Tensor, number: Tensor) -> Tensor:
    """Return the sum of a number over the ranks that share a tensor, on its device."""
    if not is_sharded(like):
        return number
    from torch.distributed.tensor import DTensor, Partial

    assert isinstance(like, DTensor)
    mesh = like.device_mesh
    return whole(DTensor.from_local(number.to(like.device), mesh, [Partial()] * mesh.ndim, run_check=False))


def anywhere(like: Tensor, condition: Tensor) -> Tensor:
    """Return whether a condition holds on any of the ranks that share a tensor."""
    return summed(like, condition.long()) > 0 if is_sharded(like) else condition
