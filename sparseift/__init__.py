"""Sparse Iso-FLOP Transformations: wider, parallel, factorized or doped layers, so sparse that they cost the FLOPs of
the dense network.

Use as a library, on any torch module:

    net, plan = sparseift.sparsify(dense, "sparse_wide", sparsity=0.75, example=x)
    masks = sparseift.Masks.random(net, plan, seed=0)
    masks.apply()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import sparsify, transform
    from .errors import UserError
    from .graph.flops import forward_flops
    from .loading import LoadedRun, load
    from .masks import Masks
    from .running import run
    from .runs.read import Run
    from .sparsity import Plan, training_flops

__version__ = "0.1.0"
__all__ = [
    "LoadedRun",
    "Masks",
    "Plan",
    "Run",
    "UserError",
    "forward_flops",
    "load",
    "run",
    "sparsify",
    "training_flops",
    "transform",
]

HOMES = {
    "LoadedRun": "loading",
    "Masks": "masks",
    "Plan": "sparsity",
    "Run": "runs.read",
    "UserError": "errors",
    "forward_flops": "graph.flops",
    "load": "loading",
    "run": "running",
    "sparsify": "api",
    "training_flops": "sparsity",
    "transform": "api",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that programs without torch start quickly."""
    if name not in HOMES:
        raise AttributeError(f"module 'sparseift' has no attribute '{name}'")
    return getattr(import_module(f".{HOMES[name]}", __name__), name)
