"""Seeds and generators that are the same on every rank, after a resume, and in every process."""

from __future__ import annotations

import hashlib

import torch


def generator_for(device: torch.device, *key: object) -> torch.Generator:
    """Return a random generator that depends only on `key`."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def stable_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends only on `parts`, unlike Python's hash()."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1
