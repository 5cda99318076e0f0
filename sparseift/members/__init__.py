"""What the network becomes: the members of the Sparse-IFT family, each a transformation of a whole network, and what a
member of your own can be made of."""

from .base import Member, exact, initializer, replace, replaceable
from .dense import Dense
from .resize import resized_layer
from .sparse_doped import SparseDoped
from .sparse_factorized import SparseFactorized
from .sparse_parallel import SparseParallel, branch_count
from .sparse_wide import SparseWide

__all__ = [
    "Dense",
    "Member",
    "SparseDoped",
    "SparseFactorized",
    "SparseParallel",
    "SparseWide",
    "branch_count",
    "exact",
    "initializer",
    "replace",
    "replaceable",
    "resized_layer",
]
