"""Masking of weights and gradients in place."""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 2**16
"""Number of weights per thread whose mask is converted at a time, so that the converted mask stays in the cache."""


def laid_out_as(like: Tensor, values: Tensor) -> Tensor:
    """Return a copy of `values` on the device and in the memory layout of `like`, a tensor of the same shape."""
    return torch.empty_like(like, dtype=values.dtype, requires_grad=False).copy_(values)


@torch.no_grad()
def mask_in_place(values: Tensor, mask: Tensor) -> None:
    """Multiply by a boolean mask in place. Masked values become zero, unless they are infinite or NaN.

    A CPU multiplies fastest if both factors have the same type, so the mask is converted there, piece by piece.
    """
    bits = mask.view(torch.uint8)  # torch checks a bool for values other than 0 and 1
    if not values.is_cpu or values.stride() != bits.stride():
        values.mul_(bits)
        return
    size = PIECE * torch.get_num_threads()
    numbers = torch.empty(min(size, values.numel()), dtype=values.dtype)
    flat = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (values, bits))
    for part, ones in zip(*(tensor.split(size) for tensor in flat), strict=True):
        part.mul_(numbers[: ones.numel()].copy_(ones))


@torch.no_grad()
def zero_outside(values: Tensor, mask: Tensor) -> None:
    """Like `mask_in_place`, but without negative zeros, which checkpoints store less compactly."""
    mask_in_place(values, mask)
    values.add_(0.0)
