"""How the masks move: static, SET and RigL."""

from .base import DropGrow, Sparsifier
from .drop_grow import drop, grow
from .rigl import RigL
from .schedule import Schedule
from .set import SET
from .static import Static

__all__ = ["SET", "DropGrow", "RigL", "Schedule", "Sparsifier", "Static", "drop", "grow"]
