"""Masks as packed bits."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from ..common.seeds import GAMMA, hashed_

GATHER = 0x0102040810204080
"""Factor that moves eight bytes of 0 or 1 to the bits of the highest byte, the first byte to the lowest bit."""


def pack(mask: Tensor) -> Tensor:
    """Return a mask as uint8 of length ceil(numel / 8), with the first weight in the lowest bit of a byte."""
    bits = mask.flatten().to(torch.uint8)
    bits = nn.functional.pad(bits, (0, -bits.numel() % 8))
    return ((bits.view(torch.int64) * GATHER) >> 56).to(torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the boolean mask of this shape that `pack` packed."""
    bits = (packed[:, None] >> torch.arange(8, device=packed.device, dtype=torch.uint8)) & 1
    return bits.flatten()[: prod(shape)].view(shape).bool()


def checksum(mask: Tensor) -> Tensor:
    """Return a hash of a mask, an int64 scalar tensor that is the same on every device: the sum of hashes of words."""
    packed = pack(mask)
    words = nn.functional.pad(packed, (0, -packed.numel() % 8)).view(torch.int64)
    return hashed_(words + torch.arange(1, words.numel() + 1, device=words.device).mul_(GAMMA)).sum()


def ones(packed: Tensor) -> Tensor:
    """Return the number of set bits in a uint8 tensor, as an int64 scalar tensor."""
    pairs = packed - ((packed >> 1) & 0x55)
    nibbles = (pairs & 0x33) + ((pairs >> 2) & 0x33)
    return ((nibbles + (nibbles >> 4)) & 0x0F).sum()
