"""Operations on weights and gradients in place."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 2**16
"""Weights of each thread that `silence` multiplies at a time: their mask as numbers stays in the cache."""


def laid_out_as(like: Tensor, values: Tensor) -> Tensor:
    """A copy of `values` on the device and in the memory layout of a tensor of the same shape."""
    return torch.empty_like(like, dtype=values.dtype, requires_grad=False).copy_(values)


@torch.no_grad()
def silence(values: Tensor, mask: Tensor) -> None:
    """Multiply by a boolean mask, in place: what is masked becomes zero, unless it is infinite or NaN.

    Accelerators convert masks as they multiply. A CPU is fastest at multiplying numbers of one type, so there the mask
    is made such numbers piece by piece.
    """
    bits = mask.view(torch.uint8)  # a bool is checked for values other than 0 and 1
    if not values.is_cpu or values.stride() != bits.stride():
        values.mul_(bits)
        return
    size = CHUNK * torch.get_num_threads()
    numbers = torch.empty(min(size, values.numel()), dtype=values.dtype)
    flat = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (values, bits))
    for part, ones in zip(*(tensor.split(size) for tensor in flat), strict=True):
        part.mul_(numbers[: ones.numel()].copy_(ones))


@torch.no_grad()
def clear(values: Tensor, mask: Tensor) -> None:
    """`silence`, and no zero stays negative: checkpoints would have to mark those."""
    silence(values, mask)
    values.add_(0.0)
