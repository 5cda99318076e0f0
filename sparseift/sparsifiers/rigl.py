"""RigL: drop by magnitude, grow by gradient magnitude (Evci et al., ICML 2020)."""

from __future__ import annotations

from torch import Tensor

from .dynamic import DropGrow


class RigL(DropGrow):
    """Grows the weights with the largest gradient magnitudes. See `DropGrow` for the arguments."""

    dense_gradient = True

    def grow_score(self, weight: Tensor, seed: int) -> Tensor:
        assert weight.grad is not None
        return weight.grad.abs()
