"""Patterns that masks follow, one per file. Imports torch, `sparsity` and `masks.topk`."""

from .base import Pattern, Structured
from .block import Block
from .n_of_m import NofM
from .unstructured import Unstructured

__all__ = ["Block", "NofM", "Pattern", "Structured", "Unstructured"]
