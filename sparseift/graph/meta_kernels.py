"""Shape rules for functions that torch evaluates on the meta device with its compiler.

Importing the compiler takes nearly as long as importing torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Shapes(TorchFunctionMode):
    """Evaluates the functions in ANSWERS by shape where the arguments allow it; torch evaluates everything else."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        answer = ANSWERS.get(func)
        result = answer(*args, **kwargs) if answer else None
        return func(*args, **kwargs) if result is None else result


def _filled(tensor: Tensor, *_: Any, **__: Any) -> Tensor | None:
    return tensor if tensor.is_meta else None


def _sum(input: Any, other: Any, *_: Any, **__: Any) -> Tensor | None:
    alike = isinstance(input, Tensor) and isinstance(other, Tensor) and input.is_meta and other.is_meta
    same = alike and (input.shape, input.dtype) == (other.shape, other.dtype)
    return torch.empty_like(input) if same else None


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    fits = input.shape[-1:] == weight.shape[1:] and (bias is None or bias.shape == weight.shape[:1])
    plain = input.is_meta and input.dtype == weight.dtype
    return input.new_empty(*input.shape[:-1], len(weight)) if plain and fits else None


def _batch_norm(input: Tensor, *of_channels: Any, training: bool = False, **options: Any) -> Tensor | None:
    tensors = [value for value in (*of_channels, *options.values()) if isinstance(value, Tensor)]
    fits = all(tensor.shape == input.shape[1:2] for tensor in tensors)
    return torch.empty_like(input) if input.is_meta and fits and not training else None


def _adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor | None:
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    whole = len(sizes) == 2 and all(isinstance(size, int) for size in sizes)
    return input.new_empty(*input.shape[:-2], *sizes) if input.is_meta and whole and input.dim() in (3, 4) else None


ANSWERS: dict[Callable, Callable[..., Tensor | None]] = {
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__), _sum),
    F.linear: _linear,
    **dict.fromkeys((Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_), _filled),
    **dict.fromkeys((nn.init.kaiming_normal_, nn.init.kaiming_uniform_), _filled),
    F.batch_norm: _batch_norm,
    F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
}
