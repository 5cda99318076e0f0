"""Pruning at initialization: one score a file. Imports what `sparsifiers` imports."""

from .base import PrunedAtStart
from .force import FORCE
from .grasp import GraSP
from .snip import SNIP
from .synflow import SynFlow

__all__ = ["FORCE", "SNIP", "GraSP", "PrunedAtStart", "SynFlow"]
