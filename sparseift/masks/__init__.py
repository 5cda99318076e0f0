"""The masks: exact counts, packed bits, top-k selection, history, spectral measures. Imports torch, `sparsity` and
`common`."""

from .masks import Masks

__all__ = ["Masks"]
