"""Masks as packed bits."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

GATHER = 0x0102040810204080
"""Multiplying eight bytes of 0 or 1 by this gathers them in the highest byte, the first one as its lowest bit."""


def pack(mask: Tensor) -> Tensor:
    """Return the bits of a mask, 8 in a byte, least significant first: uint8, of length ceil(numel / 8)."""
    bits = mask.flatten().to(torch.uint8)
    bits = nn.functional.pad(bits, (0, -bits.numel() % 8))
    return ((bits.view(torch.int64) * GATHER) >> 56).to(torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the boolean mask of this shape that `pack` packed."""
    bits = (packed[:, None] >> torch.arange(8, device=packed.device, dtype=torch.uint8)) & 1
    return bits.flatten()[: prod(shape)].view(shape).bool()


def ones(packed: Tensor) -> Tensor:
    """Return the number of set bits in a uint8 tensor, as an int64 scalar tensor."""
    pairs = packed - ((packed >> 1) & 0x55)
    nibbles = (pairs & 0x33) + ((pairs >> 2) & 0x33)
    return ((nibbles + (nibbles >> 4)) & 0x0F).sum()
