"""Masks: exact counts, patterns, packed bits, top-k selection, history, spectral gaps. Imports torch, `sparsity` and
`common`.
"""

from .masks import Masks

__all__ = ["Masks"]
