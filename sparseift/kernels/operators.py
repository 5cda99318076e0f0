"""Convolutions with active weights, and memory layouts, as functions of torch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .index import Geometry, Index
from .registration import batch_innermost, register


class Operand(NamedTuple):
    """A tensor that kernels compute as they read it: max(scale * x + slope * other + shift, floor).

    Attributes:
        x: Tensor (N, C, H, W) of float32.
        scale: Scale (C); None for 1.
        other: Tensor of the size of x; None for none.
        slope: Scale of `other` (C); None for 1.
        shift: Shift (C); None for 0. A scale or a floor needs a shift or another tensor.
    """

    x: Tensor
    scale: Tensor | None = None
    other: Tensor | None = None
    slope: Tensor | None = None
    shift: Tensor | None = None
    floor: float = -math.inf

    @property
    def plain(self) -> bool:
        """Whether it is x as it is."""
        return self.other is None and self.shift is None

    def evaluate(self) -> Tensor:
        """Return the value, with the batch innermost in memory."""
        if self.plain:
            return batch_innermost(self.x)
        register()
        return torch.ops.sparseift.evaluate(*self)


class Convolved(NamedTuple):
    """Results of `convolution`.

    Attributes:
        output: Output (N, O, H', W') with the batch innermost in memory.
        moments: Mean and variance (O) of the output over all other dimensions, if they were asked for.
        value: Value of an operand that has another tensor.
    """

    output: Tensor
    moments: tuple[Tensor, Tensor] | None
    value: Tensor | None


def convolution(
    operand: Operand, weight: Tensor, bias: Tensor | None, index: Index, geometry: Geometry, moments: bool = False
) -> Convolved:
    """Convolve with the active weights of an index.

    Args:
        operand: Input (N, C, H, W). Its tensors are copied unless the batch is innermost in memory.
        weight: Dense weight, of which the index lists the active elements. The gradients of all others are zero.
        bias: Bias (O).
        moments: Whether to compute the mean and the variance of the output.
    """
    register()
    operators = torch.ops.sparseift
    values = operators.gather(weight, index.positions, index.entries)
    order = index.forward, index.transposed, index.order
    output, mean, variance, value = operators.convolution(
        *operand, values, bias, *order, list(geometry.kernel), geometry.numbers, moments
    )
    return Convolved(output, (mean, variance) if moments else None, None if operand.other is None else value)


def dense_weight_gradient(output: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Return the output of a convolution of `x`, such that its weight (O, I, H, W) gets the gradients of all elements.

    Torch's dense kernels compute the gradient of the weight. The other gradients are those of `output`.
    """
    return _DenseWeightGradient.apply(output, x.detach(), weight, geometry)


class _DenseWeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, None]:
        x, weight = ctx.saved_tensors
        g: Geometry = ctx.geometry
        settings = None, g.stride, g.padding, g.dilation, False, (0, 0), g.groups, (False, True, False)
        return gradient, None, torch.ops.aten.convolution_backward(gradient, x, weight, *settings)[1], None


def from_batch_innermost(x: Tensor) -> Tensor:
    """Return a contiguous copy of the result of `batch_innermost`. Its gradient gets the layout of `x`."""
    register()
    return torch.ops.sparseift.from_batch_innermost(x)
