"""Shapes and gradients of the operators, for torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from .extension import load
from .index import Geometry, Index


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, index: Index, geometry: Geometry) -> Tensor:
    """Convolve with the active weights of an index.

    Args:
        x: Input (N, C, H, W) of float32. It is copied unless the batch is innermost in memory.
        weight: Dense weight, of which the index lists the active elements. The gradients of all others are zero.
        bias: Bias (O).

    Returns:
        Output (N, O, H', W') with the batch innermost in memory.
    """
    register()
    operators = torch.ops.sparseift
    values = operators.gather(weight, index.positions)
    order = index.forward, index.transposed, index.order
    return operators.convolution(x, values, bias, *order, list(geometry.kernel), geometry.numbers)


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


def batch_innermost(x: Tensor) -> Tensor:
    """Return a tensor (N, C, H, W) of float32 with the batch innermost in memory, a copy unless it is so already."""
    if x.permute(1, 2, 3, 0).is_contiguous():
        return x
    register()
    return torch.ops.sparseift.to_batch_innermost(x)


def from_batch_innermost(x: Tensor) -> Tensor:
    """Return a contiguous copy of the result of `batch_innermost`. Its gradient gets the layout of `x`."""
    register()
    return torch.ops.sparseift.from_batch_innermost(x)


def _empty(like: Tensor, size: Any) -> Tensor:
    n, c, h, w = size
    return like.new_empty((c, h, w, n)).permute(3, 0, 1, 2)


@cache
def register() -> None:
    """Register shapes and gradients with torch. Loads the extension."""
    load()
    fake, autograd = torch.library.register_fake, torch.library.register_autograd
    fake("sparseift::to_batch_innermost", lambda x: _empty(x, x.shape))
    fake("sparseift::from_batch_innermost", lambda x: x.new_empty(x.shape))
    fake("sparseift::gather", lambda weight, positions: weight.new_empty(positions.shape))
    fake("sparseift::scatter", lambda values, positions, weight: torch.empty_like(weight))
    fake("sparseift::convolution", _fake_convolution)
    fake("sparseift::input_gradient", _fake_input_gradient)
    fake("sparseift::weight_gradient", lambda gradient, x, forward, active, kernel, geometry: x.new_empty(active))
    autograd("sparseift::to_batch_innermost", lambda ctx, gradient: gradient)
    autograd("sparseift::from_batch_innermost", lambda ctx, gradient: batch_innermost(gradient))
    autograd("sparseift::gather", _gather_backward, setup_context=_gather_context)
    autograd("sparseift::convolution", _convolution_backward, setup_context=_convolution_context)


def _fake_convolution(
    x: Tensor, values: Tensor, bias: Tensor | None, forward: Tensor, transposed: Tensor, order: Tensor,
    kernel: list[int], geometry: list[int],
) -> Tensor:  # fmt: skip
    channels, *sizes = kernel
    stride, padding, dilation = (geometry[i : i + 2] for i in (0, 2, 4))
    height, width = (
        (size + 2 * pad - dilate * (k - 1) - 1) // step + 1
        for size, k, step, pad, dilate in zip(x.shape[2:], sizes, stride, padding, dilation, strict=True)
    )
    return _empty(x, (x.shape[0], channels, height, width))


def _fake_input_gradient(
    gradient: Tensor, values: Tensor, transposed: Tensor, order: Tensor, input_size: Any, kernel: Any, geometry: Any
) -> Tensor:
    return _empty(gradient, input_size)


def _gather_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gather_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    weight, positions = ctx.saved_tensors
    return torch.ops.sparseift.scatter(gradient, positions, weight), None


def _convolution_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, values, _, forward, transposed, order, kernel, geometry = inputs
    ctx.save_for_backward(x, values, forward, transposed, order)
    ctx.settings = kernel, geometry


def _convolution_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, values, forward, transposed, order = ctx.saved_tensors
    operators = torch.ops.sparseift
    of_input = of_values = of_bias = None
    if ctx.needs_input_grad[0]:
        of_input = operators.input_gradient(gradient, values, transposed, order, x.shape, *ctx.settings)
    if ctx.needs_input_grad[1]:
        of_values = operators.weight_gradient(gradient, x, forward, values.numel(), *ctx.settings)
    if ctx.needs_input_grad[2]:
        of_bias = gradient.sum((0, 2, 3))
    return of_input, of_values, of_bias, None, None, None, None, None
