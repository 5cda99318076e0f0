"""Backends, which compute the masked layers, one per file. Imports torch and `masks`."""

from .base import Backend
from .masked import Masked

__all__ = ["Backend", "Masked"]
