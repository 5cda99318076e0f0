"""GraSP: remove the weights whose removal reduces the gradient flow least (Wang et al., ICLR 2020, algorithm 1).

The paper scores the removal of a weight by -w (H g) and removes the largest; here w (H g) scores the weights that stay.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..probe import Probe
from .base import PrunedAtStart


class GraSP(PrunedAtStart):
    """
    Args:
        batches: Number of training batches that the scores are computed from.
        temperature: Divisor of the network's outputs (the authors' code).
    """

    def __init__(self, batches: int, temperature: float):
        super().__init__(batches)
        self.temperature = temperature

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        product = probe.hessian_gradient(weights, self.temperature)
        return {name: weights[name] * product[name] for name in weights}
