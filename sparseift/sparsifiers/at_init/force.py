"""FORCE: SNIP scores of the pruned network, in small steps. Later steps can restore pruned weights.

de Jorge et al., "Progressive Skeletonization", ICLR 2021, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..probe import Probe
from .base import PruningAtInit


class FORCE(PruningAtInit):
    """All iterations use the same batches, unlike the authors' code. See `PruningAtInit` for the arguments."""

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        gradient = probe.gradient({name: weight * masks[name] for name, weight in weights.items()})
        return {name: (gradient[name] * weights[name]).abs() for name in weights}
