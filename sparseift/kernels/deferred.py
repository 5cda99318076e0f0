"""Tensors whose computation waits for the convolution that reads them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map_only

from .operators import Operand, from_batch_innermost
from .registration import batch_innermost, operand_gradients

Moments = tuple[Tensor, Tensor]


class Deferred(Tensor):
    """A tensor (N, C, H, W) with the batch innermost in memory, of which some computation has not been done.

    Batch norms, ReLUs and sums of two tensors add to this computation instead of doing it. A convolution that skips
    masked weights does it while it reads the tensor. Any other function gets an ordinary contiguous tensor, and so do
    the following ones. Networks thus run as they are written, and gradients are those of the ordinary functions.

    Attributes:
        operand: What is to be computed; None if the tensor is an ordinary one by now.
        moments: Mean and variance of each channel, if they are known.
    """

    operand: Operand | None
    moments: Moments | None
    _changes: _Changes
    _graph: bool  # whether autograd records what is to be computed, whatever its mode when it is computed
    _functions: ClassVar[dict[Any, Callable[..., Any]]] = {}

    def evaluate(self) -> Tensor:
        """Return the value with the batch innermost in memory, which is kept."""
        assert self.operand is not None
        if not self.operand.plain:
            with torch.set_grad_enabled(self._graph):
                self.operand = Operand(self.operand.evaluate())
        return self.operand.x

    def keep(self, value: Tensor) -> None:
        """Keep the value that a convolution has computed, if autograd has recorded it as it should."""
        if torch.is_grad_enabled() == self._graph:
            self.operand = Operand(value)

    def settle(self) -> None:
        """Become ordinary if an autograd function has returned the tensor: it, and not its parts, has gradients."""
        with torch._C.DisableTorchFunctionSubclass():
            returned = self.operand is not None and not self._graph and self.requires_grad
        if returned:
            self._changes.ordinary = _Value.apply(self)
            self.operand = None

    def ordinary(self) -> Tensor:
        """Return the contiguous tensor, which this one is from now on, so that views and changes in place are seen."""
        self.settle()
        if self._changes.ordinary is None:
            with torch.set_grad_enabled(self._graph):
                self._changes.ordinary = from_batch_innermost(self.evaluate())
            self.operand = None
        return self._changes.ordinary

    def become(self, operand: Operand) -> Deferred:
        """Replace what is to be computed, as functions that work in place do."""
        self.operand, self.moments, self._changes.in_place = operand, None, True
        return self

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in DESCRIPTIONS:
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **kwargs)
        if own := cls._functions.get(function):
            result = own(*args, **kwargs)
            if result is not NotImplemented:
                return result
        args, kwargs = tree_map_only(Deferred, Deferred.ordinary, (args, kwargs))
        return function(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Compute with values where torch's C++ code reads the tensor, such as in `autograd.Function.apply`.

        Autograd is off here; gradients come to the tensor itself, through `_Defer`.
        """

        args, kwargs = tree_map_only(Deferred, _value, (args, kwargs or {}))
        return function(*args, **kwargs)


def _value(x: Deferred) -> Tensor:
    """The contiguous value, which is not kept."""
    return x.ordinary() if x.operand is None else from_batch_innermost(x.operand.evaluate())


class _Value(torch.autograd.Function):
    """The value of a deferred tensor, whose gradient is that of the tensor itself."""

    @staticmethod
    def forward(ctx: Any, x: Deferred) -> Tensor:
        return _value(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Changes:
    """What has happened to a deferred tensor since it was made, which the gradients that it gets itself do not know."""

    def __init__(self) -> None:
        self.in_place = False
        self.ordinary: Tensor | None = None

    def check(self) -> None:
        if self.in_place or (self.ordinary is not None and self.ordinary._version):
            raise RuntimeError(
                "a tensor that was changed in place was read by an autograd function outside of torch's Python "
                "interface; expected a copy of it there with backend=sparse"
            )


DESCRIPTIONS = {
    Tensor.dim, Tensor.size, Tensor.numel, Tensor.is_floating_point, Tensor.__len__,
    *(
        getattr(Tensor, name).__get__
        for name in ("shape", "ndim", "dtype", "device", "layout", "requires_grad", "is_cpu", "is_cuda", "is_sparse")
    ),
}  # fmt: skip
"""Functions whose results need no computation."""


def defer(operand: Operand, moments: Moments | None = None) -> Deferred:
    """Return a tensor that is computed later."""
    changes = _Changes()
    deferred = _Defer.apply(changes, *operand)
    deferred.operand, deferred.moments = operand, moments
    deferred._changes, deferred._graph = changes, torch.is_grad_enabled()
    return deferred


class _Defer(torch.autograd.Function):
    """Makes gradients flow if the tensor itself, rather than its parts, is read by other autograd functions."""

    @staticmethod
    def forward(ctx: Any, changes: _Changes, *operand: Any) -> Tensor:
        *tensors, ctx.floor = operand
        ctx.save_for_backward(*tensors)
        ctx.changes = changes
        x = tensors[0]
        return Deferred._make_wrapper_subclass(Deferred, x.shape, dtype=x.dtype, device=x.device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        ctx.changes.check()
        return None, *operand_gradients(gradient, *ctx.saved_tensors, ctx.floor)


def operand_of(x: Tensor) -> Operand:
    """Return what a convolution reads to get a tensor (N, C, H, W)."""
    if _is_deferred(x):
        assert x.operand is not None
        return x.operand
    if isinstance(x, Deferred):
        x = x.ordinary()
    return Operand(batch_innermost(x))


def _implements(*functions: Any) -> Callable[[Callable], Callable]:
    """Register what functions of torch do with deferred tensors. It may return NotImplemented."""

    def register(own: Callable) -> Callable:
        Deferred._functions.update(dict.fromkeys(functions, own))
        return own

    return register


def _is_deferred(x: Any) -> TypeGuard[Deferred]:
    if isinstance(x, Deferred):
        x.settle()
        return x.operand is not None
    return False


def _linear(x: Deferred) -> Operand:
    """The scaled and shifted tensor that `x` is; its value, if it is more than that."""
    operand = x.operand
    if operand is not None and operand.other is None and operand.floor == -math.inf:
        return operand
    return Operand(x.evaluate())


@_implements(F.batch_norm)
def _batch_norm(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    count = x.numel() // x.shape[1]
    of_channels = [tensor for tensor in (running_mean, running_var, weight, bias) if tensor is not None]
    if not _is_deferred(x) or any(t.dtype != torch.float32 for t in of_channels):
        return NotImplemented
    if count < 2 if training else running_mean is None or running_var is None:
        return NotImplemented  # torch raises an error
    value = x.evaluate()
    if training:
        mean, variance = x.moments or reversed(torch.var_mean(value, (0, 2, 3), correction=0))
        _update(running_mean, mean, momentum)
        _update(running_var, variance * (count / (count - 1)), momentum)
    else:
        assert running_mean is not None and running_var is not None
        mean, variance = running_mean, running_var
    scale = (variance + eps).rsqrt() * (1 if weight is None else weight)
    start = torch.zeros_like(mean) if bias is None else bias
    return defer(Operand(value, scale, shift=torch.addcmul(start, mean, scale, value=-1)))  # rounded once


def _update(running: Tensor | None, value: Tensor, momentum: float) -> None:
    if running is not None:
        with torch.no_grad():
            running.lerp_(value, momentum)


@_implements(F.relu)
def _relu(x: Tensor, inplace: bool = False) -> Any:
    if not _is_deferred(x):
        return NotImplemented
    operand = x.operand
    assert operand is not None
    shift = operand.shift
    if operand.plain:
        shift = operand.x.new_zeros(operand.x.shape[1])
    clipped = operand._replace(shift=shift, floor=max(operand.floor, 0.0))
    return x.become(clipped) if inplace else defer(clipped)


@_implements(torch.relu, Tensor.relu)
def _relu_function(x: Tensor) -> Any:
    return _relu(x)


@_implements(torch.relu_, Tensor.relu_)
def _relu_in_place(x: Tensor) -> Any:
    return _relu(x, inplace=True)


@_implements(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__)
def _add(one: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    summed = NotImplemented if alpha != 1 or out is not None else _sum(one, other)
    return summed if summed is NotImplemented else defer(summed)


@_implements(Tensor.add_, Tensor.__iadd__)
def _add_in_place(one: Any, other: Any, *, alpha: Any = 1) -> Any:
    if alpha != 1 or not _is_deferred(one):
        return NotImplemented
    summed = _sum(one, other)
    return summed if summed is NotImplemented else one.become(summed)


def _sum(one: Any, other: Any) -> Any:
    """The sum of two tensors of the same size, of which at least one is deferred."""
    both = one, other
    if not all(isinstance(t, Tensor) for t in both) or not any(map(_is_deferred, both)):
        return NotImplemented
    if one.shape != other.shape or any(t.dtype != torch.float32 or not t.is_cpu for t in both):
        return NotImplemented
    first, second = (_linear(t) if _is_deferred(t) else Operand(_copy(t)) for t in both)
    if first.shift is None or second.shift is None:
        shift = second.shift if first.shift is None else first.shift
    else:
        shift = first.shift + second.shift
    return Operand(first.x, first.scale, second.x, second.scale, shift)


def _copy(x: Tensor) -> Tensor:
    """A tensor with the batch innermost that shares no memory with `x`, which may be changed later."""
    ordinary = x.ordinary() if isinstance(x, Deferred) else x
    copied = batch_innermost(ordinary)
    return copied.clone(memory_format=torch.preserve_format) if copied is ordinary else copied
