"""Random numbers that depend on a key alone."""

from __future__ import annotations

import hashlib

import torch


def generator_for(device: torch.device, *key: object) -> torch.Generator:
    """Return a random generator that depends on `key` alone: the same on every rank, and after a resume."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def stable_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on `parts` alone: the same in every process, unlike Python's hash()."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1
