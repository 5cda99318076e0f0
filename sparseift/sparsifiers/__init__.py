"""Sparsifiers, which change masks during training, one per file. Imports torch, `masks`, `sparsity` and `graph`."""

from ..common.seeds import uniform_like
from .at_init import FORCE, SNIP, GraSP, SynFlow
from .base import Sparsifier, Update
from .dense_warmup import DenseWarmup
from .dynamic import DropGrow
from .gmp import GMP
from .granet import GraNet
from .probe import Probe
from .rigl import RigL
from .schedule import Schedule
from .set import SET
from .static import Static

__all__ = [
    "FORCE",
    "GMP",
    "SET",
    "SNIP",
    "DenseWarmup",
    "DropGrow",
    "GraNet",
    "GraSP",
    "Probe",
    "RigL",
    "Schedule",
    "Sparsifier",
    "Static",
    "SynFlow",
    "Update",
    "uniform_like",
]
