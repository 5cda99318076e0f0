"""CPU kernels that skip masked weights, in C++, with their operators for torch. Imports torch."""

from .deferred import Deferred, defer, operand_of
from .extension import load
from .index import Geometry, Index
from .operators import Convolved, Operand, convolution, dense_weight_gradient, from_batch_innermost

__all__ = [
    "Convolved",
    "Deferred",
    "Geometry",
    "Index",
    "Operand",
    "convolution",
    "defer",
    "dense_weight_gradient",
    "from_batch_innermost",
    "load",
    "operand_of",
]
