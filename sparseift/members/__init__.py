"""The members of the Sparse-IFT family, each of which transforms a network. Imports torch, `surgery` and `graph`."""

from .base import LocalMember, Member, Replacement, exact
from .dense import Dense
from .sparse_doped import SparseDoped
from .sparse_factorized import SparseFactorized
from .sparse_parallel import SparseParallel, branch_count
from .sparse_wide import SparseWide

__all__ = [
    "Dense",
    "LocalMember",
    "Member",
    "Replacement",
    "SparseDoped",
    "SparseFactorized",
    "SparseParallel",
    "SparseWide",
    "branch_count",
    "exact",
]
