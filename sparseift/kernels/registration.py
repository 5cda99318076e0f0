"""Shapes and gradients of the operators, for torch."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .extension import load

Gradients = tuple[Tensor | None, ...]


@cache
def register() -> None:
    """Register shapes and gradients with torch. Loads the extension."""
    load()
    fake, autograd = torch.library.register_fake, torch.library.register_autograd
    fake("sparseift::to_batch_innermost", lambda x: _empty(x, x.shape))
    fake("sparseift::from_batch_innermost", lambda x: x.new_empty(x.shape))
    fake("sparseift::gather", lambda weight, positions, entries: weight.new_empty(positions.shape))
    fake("sparseift::scatter", lambda values, positions, entries, weight: torch.empty_like(weight))
    fake("sparseift::convolution", _fake_convolution)
    fake("sparseift::input_gradient", lambda gradient, a, b, c, d, e, *operand: _fake_gradients(*operand[:6]))
    fake("sparseift::weight_gradient", _fake_weight_gradient)
    fake("sparseift::evaluate", lambda x, *_: _empty(x, x.shape))
    fake("sparseift::operand_gradient", lambda gradient, *operand: _fake_gradients(*operand))
    autograd("sparseift::to_batch_innermost", lambda ctx, gradient: gradient)
    autograd("sparseift::from_batch_innermost", lambda ctx, gradient: batch_innermost(gradient))
    autograd("sparseift::gather", _gather_backward, setup_context=_save)
    autograd("sparseift::evaluate", _evaluate_backward, setup_context=_save_operand)
    autograd("sparseift::convolution", _convolution_backward, setup_context=_convolution_context)


def _empty(like: Tensor, size: Any) -> Tensor:
    """A tensor (N, C, H, W) with the batch innermost in memory."""
    n, c, h, w = size
    return like.new_empty((c, h, w, n)).permute(3, 0, 1, 2)


def _fake_convolution(
    x: Tensor, scale: Any, other: Any, slope: Any, shift: Any, floor: float, values: Tensor, bias: Any,
    forward: Tensor, transposed: Tensor, order: Tensor, kernel: list[int], geometry: list[int], with_moments: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    channels, *sizes = kernel
    stride, padding, dilation = (geometry[i : i + 2] for i in (0, 2, 4))
    height, width = (
        (size + 2 * pad - dilate * (k - 1) - 1) // step + 1
        for size, k, step, pad, dilate in zip(x.shape[2:], sizes, stride, padding, dilation, strict=True)
    )
    moment = channels if with_moments else 0
    value = x.new_empty(0) if other is None else _empty(x, x.shape)
    output = _empty(x, (x.shape[0], channels, height, width))
    return output, x.new_empty(moment), x.new_empty(moment), value


def _fake_gradients(x: Tensor, scale: Any, other: Any, slope: Any, shift: Any, floor: float) -> tuple[Tensor, ...]:
    of_channels = [x.new_empty(0 if tensor is None else x.shape[1]) for tensor in (scale, slope, shift)]
    own = other is not None and not (scale is None and slope is None)
    return _empty(x, x.shape), _empty(x, x.shape) if own else x.new_empty(0), *of_channels


def _fake_weight_gradient(
    gradient: Tensor, output: Any, mean: Any, of_mean: Any, of_variance: Any, x: Tensor, scale: Any, shift: Any,
    floor: float, forward: Tensor, active: int, kernel: Any, geometry: Any,
) -> Tensor:  # fmt: skip
    return x.new_empty(active)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gather_backward(ctx: Any, gradient: Tensor) -> Gradients:
    weight, positions, entries = ctx.saved_tensors
    return torch.ops.sparseift.scatter(gradient, positions, entries, weight), None, None


def _save_operand(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.floor = inputs
    ctx.save_for_backward(*tensors)


def _evaluate_backward(ctx: Any, gradient: Tensor) -> Gradients:
    return operand_gradients(gradient, *ctx.saved_tensors, ctx.floor)


def operand_gradients(gradient: Tensor, *operand: Any) -> Gradients:
    """Return the gradients of the six parts of an operand, from that of its value."""
    return _of_operand(operand, torch.ops.sparseift.operand_gradient(gradient, *operand))


def _of_operand(operand: tuple, gradients: tuple[Tensor, ...]) -> Gradients:
    _, scale, other, slope, shift, _ = operand
    of_x, of_other, of_scale, of_slope, of_shift = gradients
    if other is not None and scale is None and slope is None:
        of_other = of_x
    pairs = zip((scale, other, slope, shift), (of_scale, of_other, of_slope, of_shift), strict=True)
    return of_x, *(None if part is None else gradient for part, gradient in pairs), None


def _convolution_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    *operand, floor, values, _, forward, transposed, order, kernel, geometry, with_moments = inputs
    result, mean, _, value = output
    has_value = operand[2] is not None
    of_result = result if with_moments or has_value else None, mean if with_moments else None
    of_value = value if has_value else None
    ctx.save_for_backward(*operand, values, forward, transposed, order, *of_result, of_value)
    ctx.settings = kernel, geometry
    ctx.floor = floor
    ctx.set_materialize_grads(False)


def _convolution_backward(
    ctx: Any, of_output: Tensor | None, of_mean: Tensor | None, of_variance: Tensor | None, of_value: Tensor | None
) -> Gradients:
    *tensors, values, forward, transposed, order, output, mean, value = ctx.saved_tensors
    operand = *tensors, ctx.floor
    x, scale, _, _, shift, floor = operand
    of_value = None if value is None else of_value  # compiled code passes gradients of empty results, too
    of_mean, of_variance = (None, None) if mean is None else (of_mean, of_variance)
    operators = torch.ops.sparseift
    own = torch.zeros_like(output) if of_output is None else batch_innermost(of_output)
    gradient = own, output, mean, of_mean, of_variance
    of_operand: Gradients = (None,) * 6
    of_values = of_bias = None
    if any(ctx.needs_input_grad[:5]):
        index = values, transposed, order
        parts = operators.input_gradient(*gradient, of_value, *operand, *index, *ctx.settings)
        of_operand = _of_operand(operand, parts)
    if ctx.needs_input_grad[6]:
        source = (x, scale, shift, floor) if value is None else (value, None, None, -math.inf)
        of_values = operators.weight_gradient(*gradient, *source, forward, values.numel(), *ctx.settings)
    if ctx.needs_input_grad[7]:
        of_bias = own.sum((0, 2, 3)) + (0 if of_mean is None else of_mean)
    return *of_operand, of_values, of_bias, *(None,) * 6


def batch_innermost(x: Tensor) -> Tensor:
    """Return a tensor (N, C, H, W) of float32 with the batch innermost in memory, a copy unless it is so already."""
    if x.permute(1, 2, 3, 0).is_contiguous():
        return x
    register()
    return torch.ops.sparseift.to_batch_innermost(x)
