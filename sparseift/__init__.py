"""Sparse Iso-FLOP Transformations: wider, parallel, factorized or doped layers, sparse enough to cost what the dense
network costs.

As a library, on any torch module:

    net, plan = sparseift.sparsify(dense, "sparse_wide", sparsity=0.75, example=images)
    masks = sparseift.Masks.random(net, plan, seed=0)
    masks.apply()
"""

from .errors import UserError
from .flops import forward_flops, training_flops
from .masks import Masks
from .sparsity import Plan
from .transform import sparsify, transform

__version__ = "0.1.0"
__all__ = ["Masks", "Plan", "UserError", "forward_flops", "sparsify", "training_flops", "transform"]
