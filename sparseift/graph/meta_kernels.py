"""Shape rules for functions for which torch imports its compiler on the meta device.

Importing the compiler takes nearly as long as importing torch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Shapes(TorchFunctionMode):
    """Evaluates the functions in ANSWERS by shape where the arguments allow it; torch evaluates everything else.

    Args:
        own_code: Context in which answers are computed.
    """

    def __init__(self, own_code: Callable[[], AbstractContextManager] = nullcontext):
        super().__init__()
        self.own_code = own_code

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if answer := ANSWERS.get(func):
            with self.own_code():
                result = answer(*args, **kwargs)
            if result is not None:
                return result
        return func(*args, **kwargs)


def _filled(tensor: Tensor, *_: Any, **__: Any) -> Tensor | None:
    return tensor if tensor.is_meta else None


def _sum(input: Any, other: Any, *_: Any, **__: Any) -> Tensor | None:
    alike = isinstance(input, Tensor) and isinstance(other, Tensor) and input.is_meta and other.is_meta
    same = alike and (input.shape, input.dtype) == (other.shape, other.dtype)
    return torch.empty_like(input) if same else None


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    fits = input.shape[-1:] == weight.shape[1:] and (bias is None or bias.shape == weight.shape[:1])
    plain = input.is_meta and input.dtype == weight.dtype
    return input @ weight.mT if plain and fits else None  # a product, so that its FLOPs can be counted


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    if not query.is_meta or (attn_mask is not None and not attn_mask.is_meta):
        return None
    if enable_gqa:
        key, value = (t.repeat_interleave(query.shape[-3] // t.shape[-3], -3) for t in (key, value))
    scores = query @ key.mT
    if attn_mask is not None:
        torch.broadcast_shapes(scores.shape, attn_mask.shape)
    return scores @ value


def _batch_norm(input: Any, mean: Any, var: Any, *others: Any, training: bool = False, **options: Any) -> Tensor | None:
    if not isinstance(input, Tensor) or not (training or (isinstance(mean, Tensor) and isinstance(var, Tensor))):
        return None
    if training and input.numel() == input.shape[1]:
        return None  # one value per channel, which is a mistake
    tensors = [value for value in (mean, var, *others, *options.values()) if isinstance(value, Tensor)]
    fits = all(tensor.shape == input.shape[1:2] for tensor in tensors)
    return torch.empty_like(input) if input.is_meta and fits else None


def _adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor | None:
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    fits = len(sizes) == 2 and all(isinstance(size, int) and size >= 0 for size in sizes)
    plain = isinstance(input, Tensor) and input.is_meta and input.dim() in (3, 4)
    return input.new_empty(*input.shape[:-2], *sizes) if plain and fits else None


ANSWERS: dict[Callable, Callable[..., Tensor | None]] = {
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__), _sum),
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
    **dict.fromkeys((Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_), _filled),
    **dict.fromkeys((nn.init.kaiming_normal_, nn.init.kaiming_uniform_), _filled),
    F.batch_norm: _batch_norm,
    F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
}
