"""Static sparsity: masks that do not change."""

from __future__ import annotations

from .base import Sparsifier


class Static(Sparsifier):
    """Keeps the initial masks."""
