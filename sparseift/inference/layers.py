"""Convolutions and linears that predict with the kernels that skip masked weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..kernels import Deferred, Geometry, Index, Operand, defer, load, operand_of
from ..masks.bits import pack, unpack
from .patches import Patches, best_patches

LANES = {"avx2": 8, "avx512": 16}
"""Samples of a vector, by instruction set."""


class SparseConvolution:
    """A convolution in two dimensions with the active weights of a mask, for float32 on CPUs.

    Args:
        weight: Weight (O, I, H, W), zero outside the mask.
        mask: Boolean mask of the same shape.
        bias: Bias (O).
    """

    def __init__(self, weight: Tensor, mask: Tensor, bias: Tensor | None, geometry: Geometry) -> None:
        self._values, self._bits, self._shape = weight[mask], pack(mask), weight.shape
        self._bias, self._geometry = bias, geometry
        self._plans: dict[torch.Size, Plan] = {}
        self._indices: dict[tuple[Geometry, int], tuple[Tensor, Tensor]] = {}
        self._unused = weight.new_empty(0, dtype=torch.int32)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output (N, O, H', W') for an input (N, C, H, W), which may be deferred, and so may the output."""
        plan = self._plans.get(x.shape) or self._plan(x.shape)
        if plan.patches is not None:
            return plan.patches.joined(self._convolved(Operand(plan.patches.cut(x)), plan)[0])
        operand = operand_of(x)
        output, value = self._convolved(operand, plan)
        if operand.other is not None and isinstance(x, Deferred):
            x.become(Operand(value))
        return defer(Operand(output))

    def _convolved(self, operand: Operand, plan: Plan) -> tuple[Tensor, Tensor]:
        """The output with the batch innermost in memory, and the value of an operand that has another tensor."""
        kernel, numbers, unused = list(plan.geometry.kernel), plan.geometry.numbers, self._unused
        output, _, _, value = torch.ops.sparseift.convolution(
            *operand, plan.values, self._bias, plan.index, unused, unused, kernel, numbers, False
        )
        return output, value

    def _plan(self, size: torch.Size) -> Plan:
        """How to compute inputs of this size."""
        batch, channels, height, width = size
        patches = best_patches(self._geometry, (batch, channels, height, width), LANES[load()])
        geometry, source = self._geometry, size
        if patches is not None:
            geometry, source = patches.inner, patches.cut(self._values.new_empty(1).expand(size)).shape
        tiles = geometry.best_tiles(self._shape, source)
        if (geometry, tiles[0]) not in self._indices:
            mask = unpack(self._bits, tuple(self._shape))
            index = Index.build(mask, geometry, tiles)
            weight = self._values.new_zeros(self._shape).masked_scatter_(mask, self._values)
            self._indices[geometry, tiles[0]] = (
                torch.ops.sparseift.gather(weight, index.positions, index.entries),
                index.forward,
            )
        self._plans[size] = Plan(patches, geometry, *self._indices[geometry, tiles[0]])
        return self._plans[size]


@dataclass(frozen=True)
class Plan:
    """How a convolution computes inputs of a size.

    Attributes:
        patches: Patches that take the place of samples; None for whole pictures.
        geometry: The convolution of patches or pictures.
        values: Active weights in the order of the index.
        index: Index of the forward pass.
    """

    patches: Patches | None
    geometry: Geometry
    values: Tensor
    index: Tensor


def sparse_call(operator: str, arguments: Sequence[Any], mask: Tensor) -> SparseCall | None:
    """Return a layer for a call of an operator, or None if the kernels do not cover it.

    Args:
        arguments: Of the call: the input, which is ignored, then weight, bias, and so on.
    """
    name, _, overload = operator.rpartition(".")
    arguments = list(arguments)
    if overload == "padding" and arguments[4:5] == ["valid"]:
        arguments[4] = None
    if name not in KINDS or arguments[1].dtype != torch.float32 or any(isinstance(one, str) for one in arguments):
        return None
    return KINDS[name](arguments, mask)


class SparseCall:
    """A call of an operator whose first argument is the input."""

    dims: int

    def __init__(self, arguments: Sequence[Any], mask: Tensor) -> None:
        weight = arguments[1]
        bias = arguments[2] if len(arguments) > 2 else None
        geometry = _geometry(weight.shape, arguments[3:])
        shape = (*weight.shape[:2], *(1,) * (4 - weight.dim()), *weight.shape[2:])
        self._compute = SparseConvolution(weight.reshape(shape), mask.reshape(shape), bias, geometry)


class Conv2d(SparseCall):
    def __call__(self, x: Tensor) -> Tensor:
        return self._compute(x) if x.dim() == 4 else self._compute(x.unsqueeze(0)).squeeze(0)


class Conv1d(SparseCall):
    def __call__(self, x: Tensor) -> Tensor:
        output = self._compute((x if x.dim() == 3 else x.unsqueeze(0)).unsqueeze(2)).squeeze(2)
        return output if x.dim() == 3 else output.squeeze(0)


class Linear(SparseCall):
    """Each token is a sample of one pixel."""

    def __call__(self, x: Tensor) -> Tensor:
        output = self._compute(x.reshape(-1, x.shape[-1], 1, 1)).contiguous()
        return output.view(*x.shape[:-1], output.shape[1])


KINDS: dict[str, type[SparseCall]] = {
    "aten.conv1d": Conv1d,
    "aten.conv2d": Conv2d,
    "aten.linear": Linear,
}


def _geometry(shape: torch.Size, settings: Sequence[Any]) -> Geometry:
    """The geometry of a weight, and stride, padding, dilation and groups, of which the last ones may be missing."""
    dims = len(shape) - 2
    stride, padding, dilation, groups = (list(settings) + [None] * 4)[:4]
    kernel = (shape[0], shape[2] if dims == 2 else 1, shape[-1] if dims else 1)
    return Geometry(kernel, _pair(stride, 1, dims), _pair(padding, 0, dims), _pair(dilation, 1, dims), groups or 1)


def _pair(values: Sequence[int] | None, usual: int, dims: int) -> tuple[int, int]:
    """A setting of both dimensions. One value may stand for all dimensions."""
    given = list(values or [usual])
    first, second = ([usual] * 2 + (given * dims if len(given) == 1 else given))[-2:]
    return first, second
