"""GraSP: prune the weights whose removal reduces the gradient flow least (Wang et al., ICLR 2020, algorithm 1).

The paper prunes the largest -w (H g); here the weights with the largest w (H g) stay active.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...common.checks import number
from ..probe import Probe
from .base import PruningAtInit


class GraSP(PruningAtInit):
    """Scores weights by w (H g).

    Args:
        batches: Number of training batches for the scores.
        temperature: Divisor of the network's outputs (the authors' code).
    """

    def __init__(self, batches: int, temperature: float):
        super().__init__(batches)
        self.temperature = number("sparsifier.temperature", temperature, 0, open_at="(")

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        product = probe.hessian_gradient(weights, self.temperature)
        return {name: weights[name] * product[name] for name in weights}
