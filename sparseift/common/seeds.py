"""Seeds and random numbers that are the same on every rank and device, after a resume, and in every process."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from .cache import piece_of

GAMMA = 0x9E3779B97F4A7C15 - 2**64  # torch's integers are signed
MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


def generator_for(*key: object) -> torch.Generator:
    """Return a random generator of the CPU that depends only on `key`."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def stable_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends only on `parts`, unlike Python's hash()."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1


def hashed_(state: Tensor) -> Tensor:
    """Replace 64-bit integers by their hashes in place: the output function of splitmix64, a bijection.

    With `seed + GAMMA * n` for n = 1, 2, ..., these are the numbers of a generator with this seed. Integers wrap around
    alike on every device, so the hashes are the same everywhere. Steele, Lea and Flood, "Fast splittable pseudorandom
    number generators", OOPSLA 2014.

    Args:
        state: int64.
    """
    return _mixed_(state).bitwise_xor_(_shifted(state, 31))


def _mixed_(state: Tensor) -> Tensor:
    """All of `hashed_` but its last step, which does not change the upper 31 bits."""
    for bits, factor in zip((30, 27), MULTIPLIERS, strict=True):
        state.bitwise_xor_(_shifted(state, bits)).mul_(factor)
    return state


def uniform_like(values: Tensor, seed: int) -> Tensor:
    """Return random numbers, uniform in (0, 1), float32, of the shape of `values` and on its device.

    They depend only on the shape and the seed.
    """
    numbers, size = torch.empty(values.numel(), device=values.device), piece_of(values)
    steps = torch.arange(1, min(size, values.numel()) + 1, device=values.device).mul_(GAMMA)
    for part in numbers.split(size):
        state = steps[: part.numel()] + seed
        part.copy_(_shifted(_mixed_(state), 41)).add_(0.5).mul_(2**-23)
        seed = _wrapped(seed + size * GAMMA)
    return numbers.view(values.shape)


def _wrapped(number: int) -> int:
    """The number as a signed integer of 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Logical shift to the right."""
    return (state >> bits).bitwise_and_((1 << (64 - bits)) - 1)
