"""Pruning at initialization, one score per file. Imports what `sparsifiers` imports."""

from .base import PruningAtInit
from .force import FORCE
from .grasp import GraSP
from .snip import SNIP
from .synflow import SynFlow

__all__ = ["FORCE", "SNIP", "GraSP", "PruningAtInit", "SynFlow"]
