"""CPU kernels that skip masked weights, in C++, with their operators for torch. Imports torch."""

from .extension import load
from .index import Geometry, Index
from .operators import batch_innermost, convolution, dense_weight_gradient, from_batch_innermost

__all__ = [
    "Geometry",
    "Index",
    "batch_innermost",
    "convolution",
    "dense_weight_gradient",
    "from_batch_innermost",
    "load",
]
