"""SNIP: keep the weights to which the loss is most sensitive, |g w| (Lee et al., ICLR 2019, section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..probe import Probe
from .base import PrunedAtStart


class SNIP(PrunedAtStart):
    """
    Args:
        batches: Number of training batches that the scores are computed from.
    """

    def __init__(self, batches: int):
        super().__init__(batches)

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        return {name: (gradient * weights[name]).abs() for name, gradient in probe.gradient(weights).items()}
