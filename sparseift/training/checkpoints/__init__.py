"""Checkpoints: encoding, search, and atomic writes, which are in `io`. Imports torch and `masks`, `io` Lightning."""

from .codec import CURRENT, mask_state, network_state, read_checkpoint
from .files import BEST, LAST, PREVIOUS, find_checkpoint, problem, settings_in

__all__ = [
    "BEST",
    "CURRENT",
    "LAST",
    "PREVIOUS",
    "find_checkpoint",
    "mask_state",
    "network_state",
    "problem",
    "read_checkpoint",
    "settings_in",
]
