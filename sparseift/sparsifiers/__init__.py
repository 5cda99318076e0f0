"""Which weights are active at first, and how that changes while a network trains."""

from .base import DropGrow, Sparsifier
from .block import Block
from .dense_warmup import DenseWarmup
from .drop_grow import drop, grow
from .force import FORCE
from .gmp import GMP
from .granet import GraNet
from .grasp import GraSP
from .n_of_m import NofM
from .patterns import Unstructured
from .probe import Probe
from .rigl import RigL
from .schedule import Schedule
from .set import SET
from .snip import SNIP
from .static import Static
from .synflow import SynFlow

__all__ = [
    "FORCE",
    "GMP",
    "SET",
    "SNIP",
    "Block",
    "DenseWarmup",
    "DropGrow",
    "GraNet",
    "GraSP",
    "NofM",
    "Probe",
    "RigL",
    "Schedule",
    "Sparsifier",
    "Static",
    "SynFlow",
    "Unstructured",
    "drop",
    "grow",
]
