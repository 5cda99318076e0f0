"""SET: drop by magnitude, grow at random (Mocanu et al., Nature Communications 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from .dynamic import DropGrow


class SET(DropGrow):
    """Grows random weights. See `DropGrow` for the arguments."""

    def grow_score(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return torch.rand(weight.shape, generator=generator, device=weight.device, dtype=torch.float32)
