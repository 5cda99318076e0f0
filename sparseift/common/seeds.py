"""Random numbers that are a function of a key."""

from __future__ import annotations

import hashlib

import torch


def generator_for(device: torch.device, *key: object) -> torch.Generator:
    """A random generator that depends on `key` alone: the same on every rank, in every process and after a resume."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def stable_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on `parts` alone: the same in every process (Python's hash() is not)."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1
