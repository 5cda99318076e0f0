"""How much to process at a time on a CPU."""

from __future__ import annotations

import torch

PIECE = 2**16
"""Numbers per thread, so that those of several steps of a computation stay in the cache between them."""


def piece_of(tensor: torch.Tensor) -> int:
    """Return how many elements of a tensor to process at a time: on other devices than a CPU, all."""
    return PIECE * torch.get_num_threads() if tensor.is_cpu else max(1, tensor.numel())
