"""RigL: drop by magnitude, grow where the dense gradient is largest (Evci et al., ICML 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from .dynamic import DropGrow


class RigL(DropGrow):
    dense_gradient = True

    def grow_score(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        return weight.grad.abs()
