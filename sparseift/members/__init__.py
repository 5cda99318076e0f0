"""The members of the Sparse-IFT family: each transforms a whole network. Imports torch, `surgery` and `graph`."""

from .base import Member, exact
from .dense import Dense
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
]
