"""SNIP: keep the weights to which the loss is most sensitive, |g w| (Lee et al., ICLR 2019, section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..probe import Probe
from .base import PruningAtInit


class SNIP(PruningAtInit):
    """Scores weights by `abs(g * w)`.

    Args:
        batches: Number of training batches for the scores.
    """

    def __init__(self, batches: int):
        super().__init__(batches)

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        return {name: (gradient * weights[name]).abs() for name, gradient in probe.gradient(weights).items()}
