"""CPU kernels that skip masked weights, in C++, with their operators for torch. Imports torch."""

from .extension import available, load
from .index import Geometry, Index
from .operators import convolution

__all__ = ["Geometry", "Index", "available", "convolution", "load"]
