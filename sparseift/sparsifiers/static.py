"""Static sparsity: the random first masks stay for the whole training."""

from __future__ import annotations

from .base import Sparsifier


class Static(Sparsifier):
    """Never updates."""
