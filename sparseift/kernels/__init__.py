"""CPU kernels that skip masked weights, in C++, with their operators for torch. Imports torch."""

from .extension import cache_folder, identity, load
from .index import Geometry, Index
from .operators import batch_innermost, convolution, dense_weight_gradient, from_batch_innermost

__all__ = [
    "Geometry",
    "Index",
    "batch_innermost",
    "cache_folder",
    "convolution",
    "dense_weight_gradient",
    "from_batch_innermost",
    "identity",
    "load",
]
