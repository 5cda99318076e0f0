"""Nested containers of tensors: torch's own functions for them, imported here alone.

torch has them only in a private module. The same functions of `torch.utils.pytree` and of the package optree do not
exist in every version that this package supports.
"""

from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_map_only, tree_unflatten

__all__ = ["tree_flatten", "tree_leaves", "tree_map", "tree_map_only", "tree_unflatten"]
