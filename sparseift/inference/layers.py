"""Convolutions and linears that predict with the kernels that skip masked weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..kernels import Geometry, Index, batch_innermost, from_batch_innermost
from ..masks.bits import pack, unpack


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
        self._tiles: dict[torch.Size, tuple[int, ...]] = {}
        self._indices: dict[int, tuple[Tensor, Tensor]] = {}
        self._unused = weight.new_empty(0, dtype=torch.int32)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output (N, O, H', W') for an input (N, C, H, W), with the batch innermost in memory."""
        values, index = self._index(x.shape)
        kernel, numbers, unused = list(self._geometry.kernel), self._geometry.numbers, self._unused
        return torch.ops.sparseift.convolution(x, values, self._bias, index, unused, unused, kernel, numbers)

    def _index(self, size: torch.Size) -> tuple[Tensor, Tensor]:
        """The active weights in the order of the index for inputs of this size, and that index."""
        if size not in self._tiles:
            self._tiles[size] = self._geometry.best_tiles(self._shape, size)
        tiles = self._tiles[size]
        if tiles[0] not in self._indices:
            mask = unpack(self._bits, tuple(self._shape))
            index = Index.build(mask, self._geometry, tiles)
            weight = self._values.new_zeros(self._shape).masked_scatter_(mask, self._values)
            self._indices[tiles[0]] = torch.ops.sparseift.gather(weight, index.positions), index.forward
        return self._indices[tiles[0]]


def sparse_layer(operator: str, arguments: Sequence[Any], mask: Tensor) -> SparseLayer | None:
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


class SparseLayer:
    """A call of an operator whose first argument is the input."""

    dims: int

    def __init__(self, arguments: Sequence[Any], mask: Tensor) -> None:
        weight = arguments[1]
        bias = arguments[2] if len(arguments) > 2 else None
        geometry = _geometry(weight.shape, arguments[3:])
        shape = (*weight.shape[:2], *(1,) * (4 - weight.dim()), *weight.shape[2:])
        self._compute = SparseConvolution(weight.reshape(shape), mask.reshape(shape), bias, geometry)


class Conv2d(SparseLayer):
    def __call__(self, x: Tensor) -> Tensor:
        return self._compute(x) if x.dim() == 4 else self._compute(x.unsqueeze(0)).squeeze(0)


class Conv1d(SparseLayer):
    def __call__(self, x: Tensor) -> Tensor:
        output = self._compute((x if x.dim() == 3 else x.unsqueeze(0)).unsqueeze(2)).squeeze(2)
        return output if x.dim() == 3 else output.squeeze(0)


class Linear(SparseLayer):
    """Each token is a sample of one pixel."""

    def __call__(self, x: Tensor) -> Tensor:
        output = from_batch_innermost(self._compute(batch_innermost(x.reshape(-1, x.shape[-1], 1, 1))))
        return output.view(*x.shape[:-1], output.shape[1])


KINDS: dict[str, type[SparseLayer]] = {
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
