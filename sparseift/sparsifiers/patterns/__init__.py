"""Which weights are active or masked together: one pattern a file. Imports torch, `masks` and `sparsity`."""

from .base import Structured, Unstructured
from .block import Block
from .n_of_m import NofM

__all__ = ["Block", "NofM", "Structured", "Unstructured"]
