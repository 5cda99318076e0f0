"""Backends, which compute the masked layers, one per file. Imports torch, `kernels` and `masks`."""

from .auto import Auto
from .base import Backend
from .masked import Masked
from .sparse import Sparse

__all__ = ["Auto", "Backend", "Masked", "Sparse"]
