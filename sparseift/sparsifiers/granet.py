"""GraNet: gradual magnitude pruning, with the drop and grow of RigL in every update.

Liu et al., "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration", NeurIPS 2021, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..masks import Masks
from ..sparsity import Plan
from .base import Update
from .gmp import GMP
from .probe import Probe
from .rigl import RigL
from .schedule import check_span


class GraNet(RigL):
    """Prunes each layer to its planned density, since the authors' single threshold for all layers cannot meet a plan.

    Args:
        update_interval: Optimizer steps between updates.
        begin: Start of the updates, as a fraction of all optimizer steps.
        end: End of dropping and growing, as a fraction of all optimizer steps.
        drop_fraction: Fraction of active weights that the first update drops.
        anneal: How the drop fraction decreases: cosine, constant, linear or exponential.
        initial_density: Density of all masked layers together at the start (see `GMP`).
        prune_end: End of pruning, as a fraction of all optimizer steps.
        grown_state: Optimizer state of grown weights (see `DropGrow`).
    """

    prunes = True

    def __init__(
        self,
        update_interval: int,
        begin: float,
        end: float,
        drop_fraction: float,
        anneal: str,
        initial_density: float,
        prune_end: float,
        grown_state: str = "matched",
    ):
        super().__init__(update_interval, begin, end, drop_fraction, anneal, grown_state)
        check_span(update_interval, begin, prune_end, "prune_end")
        self.pruning = GMP(update_interval, begin, prune_end, initial_density)

    def accept(self, plan: Plan) -> None:
        self.pruning.accept(plan)

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        self.pruning.start(masks, plan, seed)

    def due(self, step: int, total: int) -> bool:
        return self.pruning.due(step, total) or super().due(step, total)

    def fraction(self, step: int, total: int) -> float:
        return super().fraction(step, total) if step < int(self.schedule.end * total) else 0.0  # pruning may end later

    def update(self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], at: Update) -> None:
        optimizers = list(optimizers)
        self.pruning.update(masks, optimizers, at)
        super().update(masks, optimizers, at)
