"""SET: drop by magnitude, grow at random (Mocanu et al., Nature Communications 2018)."""

from __future__ import annotations

from torch import Tensor

from ..common.seeds import uniform_like
from .dynamic import DropGrow


class SET(DropGrow):
    """Grows random weights. See `DropGrow` for the arguments."""

    def grow_score(self, weight: Tensor, seed: int) -> Tensor:
        return uniform_like(weight, seed)
