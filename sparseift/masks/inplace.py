"""Masking of weights and gradients in place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..common.cache import piece_of

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer types by size in bytes."""


def laid_out_as(like: Tensor, values: Tensor) -> Tensor:
    """Return a copy of `values` on the device and in the memory layout of `like`, a tensor of the same shape."""
    return torch.empty_like(like, dtype=values.dtype, requires_grad=False).copy_(values)


def values_of(scalars: Iterable[Tensor]) -> list[Any]:
    """Return the values of scalar tensors, of one type, with one wait for their device."""
    found = list(scalars)
    return torch.stack([scalar.to(found[0].device) for scalar in found]).tolist() if found else []


@torch.no_grad()
def mask_all_in_place(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Apply `mask_in_place` to pairs of values and mask: one call of torch for all that are not on the CPU."""
    numbers: list[Tensor] = []
    bits: list[Tensor] = []
    for values, mask in pairs:
        if values.is_cpu:
            mask_in_place(values, mask)
        else:
            factors = _as_integers(values, mask)
            numbers.append(factors[0])
            bits.append(factors[1])
    if numbers:
        torch._foreach_mul_(numbers, bits)


@torch.no_grad()
def mask_in_place(values: Tensor, mask: Tensor) -> None:
    """Set the values outside a boolean mask to zero in place, also infinite values and NaN.

    The values are multiplied as integers by 0 and 1: times 0.0, infinity would be NaN, and a negative number would be
    negative zero, which checkpoints store less compactly. This is as fast as a product of floats; `torch.where` and
    `masked_fill_` take four times as long on a CPU. A CPU multiplies fastest if both factors have the same type, so the
    mask is converted there, piece by piece.
    """
    numbers, bits = _as_integers(values, mask)
    if not values.is_cpu or numbers.stride() != bits.stride():
        numbers.mul_(bits)
        return
    size = piece_of(values)
    factors = torch.empty(min(size, numbers.numel()), dtype=numbers.dtype)
    flat = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (numbers, bits))
    for part, ones in zip(*(tensor.split(size) for tensor in flat), strict=True):
        part.mul_(factors[: ones.numel()].copy_(ones))


def _as_integers(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The values and the mask as integers whose product is masked, as views."""
    bits = mask.view(torch.uint8)  # torch checks a bool for values other than 0 and 1
    if values.is_complex():
        values, bits = torch.view_as_real(values), bits.unsqueeze(-1)
    return values.view(INTEGERS[values.element_size()]), bits
