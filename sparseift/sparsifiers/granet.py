"""GraNet: gradual magnitude pruning that in every update also drops and grows as RigL does (Liu et al., "Sparse
Training via Boosting Pruning Plasticity with Neuroregeneration", NeurIPS 2021, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..masks.masks import Masks
from ..sparsity.plan import Plan
from .gmp import GMP
from .probe import Probe
from .rigl import RigL


class GraNet(RigL):
    """Prunes layer by layer, to the plan's counts, as the authors' uniform variant; their one threshold for all layers
    would not meet a plan.

    initial_density: see GMP. prune_end: end of the pruning, as a fraction of all steps; dropping and growing go on
    until `end`.
    """

    def __init__(
        self,
        update_interval: int,
        begin: float,
        end: float,
        drop_fraction: float,
        anneal: str,
        initial_density: float,
        prune_end: float,
    ):
        super().__init__(update_interval, begin, end, drop_fraction, anneal)
        self.pruning = GMP(update_interval, begin, prune_end, initial_density)

    def plan(self, plan: Plan) -> Plan:
        return self.pruning.plan(plan)

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        self.pruning.start(masks, plan, seed)

    def due(self, step: int, total: int) -> bool:
        return self.pruning.due(step, total) or super().due(step, total)

    def fraction(self, step: int, total: int) -> float:
        return super().fraction(step, total) if step < int(self.schedule.end * total) else 0.0  # pruning may end later

    def update(
        self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], step: int, total: int, seed: int
    ) -> int:
        optimizers = list(optimizers)
        pruned = self.pruning.prune(masks, optimizers, step, total)
        return pruned + super().update(masks, optimizers, step, total, seed)
