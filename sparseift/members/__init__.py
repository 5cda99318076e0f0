"""What the network becomes: the members of the Sparse-IFT family, each a transformation of a whole network."""

from .base import Member, exact
from .dense import Dense
from .sparse_doped import SparseDoped
from .sparse_factorized import SparseFactorized
from .sparse_parallel import SparseParallel
from .sparse_wide import SparseWide

__all__ = ["Dense", "Member", "SparseDoped", "SparseFactorized", "SparseParallel", "SparseWide", "exact"]
