"""Checkpoints: encoding, atomic writes, and search. Imports torch, Lightning and `masks`."""

from .codec import mask_state, network_state, read_checkpoint
from .files import BEST, LAST, PREVIOUS, find_checkpoint, problem, settings_in
from .io import AtomicCheckpointIO

__all__ = [
    "BEST",
    "LAST",
    "PREVIOUS",
    "AtomicCheckpointIO",
    "find_checkpoint",
    "mask_state",
    "network_state",
    "problem",
    "read_checkpoint",
    "settings_in",
]
