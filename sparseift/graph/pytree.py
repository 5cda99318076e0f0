"""torch's functions for nested containers, which are in a private module.

Not every supported version has the public module `torch.utils.pytree`.
"""

from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_map_only, tree_unflatten

__all__ = ["tree_flatten", "tree_leaves", "tree_map", "tree_map_only", "tree_unflatten"]
