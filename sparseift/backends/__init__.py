"""What computes the masked layers: one backend a file. Imports torch and `masks`."""

from .base import Backend
from .masked import Masked

__all__ = ["Backend", "Masked"]
