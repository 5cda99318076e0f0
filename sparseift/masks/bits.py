"""Masks as packed bits."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

EIGHTH = 0x0102040810204080
"""Times eight bytes that are 0 or 1, the first one lowest, has these as bits of its highest byte."""


def pack(mask: Tensor) -> Tensor:
    """The bits of a mask, 8 a byte, least significant first. uint8, ceil(numel / 8) long."""
    bits = mask.flatten().to(torch.uint8)
    bits = nn.functional.pad(bits, (0, -bits.numel() % 8))
    return ((bits.view(torch.int64) * EIGHTH) >> 56).to(torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The boolean mask of `shape` that `pack` packed."""
    bits = (packed[:, None] >> torch.arange(8, device=packed.device, dtype=torch.uint8)) & 1
    return bits.flatten()[: prod(shape)].view(shape).bool()


def ones(packed: Tensor) -> Tensor:
    """The number of bits that are set in a tensor of bytes (uint8); int64, without dimensions."""
    pairs = packed - ((packed >> 1) & 0x55)
    nibbles = (pairs & 0x33) + ((pairs >> 2) & 0x33)
    return ((nibbles + (nibbles >> 4)) & 0x0F).sum()
