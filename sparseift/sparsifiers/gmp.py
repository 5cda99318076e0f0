"""Gradual magnitude pruning: from a dense network to the planned one along a cubic (Zhu & Gupta, "To prune, or not to
prune", 2017, equation 1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..errors import UserError
from ..masks.masks import Masks, random_scores
from ..masks.topk import drop, largest
from ..sparsity.plan import Plan
from .base import Sparsifier, replace
from .probe import Probe


@dataclass(frozen=True)
class Cubic:
    """update_interval: optimizer steps between prunings. begin, end: the span of pruning, as fractions of all steps.
    The step at the end prunes too, so that the plan is met whatever the interval."""

    update_interval: int
    begin: float
    end: float

    def __post_init__(self):
        if not isinstance(self.update_interval, int) or self.update_interval < 1:
            raise UserError(
                f"sparsifier.update_interval is {self.update_interval}; it is a whole number of steps, 1 or more"
            )
        numbers = all(isinstance(part, int | float) for part in (self.begin, self.end))
        if not numbers or not 0 <= self.begin < self.end <= 1:
            raise UserError(
                f"sparsifier prunes from {self.begin} to {self.end}; fractions of training are meant, "
                "0 <= begin < end <= 1"
            )

    def due(self, step: int, total: int) -> bool:
        first, last = self._span(total)
        return step == last or (first < step < last and step % self.update_interval == 0)

    def left(self, step: int, total: int) -> float:
        """The share still active of the weights to be pruned: 1 up to the beginning, 0 from the end on."""
        first, last = self._span(total)
        return (1 - min(1.0, max(0.0, (step - first) / (last - first)))) ** 3

    def _span(self, total: int) -> tuple[int, int]:
        last = max(1, int(self.end * total))
        return min(int(self.begin * total), last - 1), last


class GMP(Sparsifier):
    """Each layer goes from its count at the start to the planned one; what is pruned does not come back.

    initial_density: of the masked layers together. Below 1, each layer starts with its planned weights and the same
    share of its others.
    """

    def __init__(self, update_interval: int, begin: float, end: float, initial_density: float):
        if not isinstance(initial_density, int | float) or not 0 < initial_density <= 1:
            raise UserError(f"sparsifier.initial_density is {initial_density}; a fraction in (0, 1] is meant")
        self.schedule = Cubic(update_interval, begin, end)
        self.initial_density = initial_density

    def plan(self, plan: Plan) -> Plan:
        if self.initial_density < plan.density:
            raise UserError(
                f"sparsifier.initial_density is {self.initial_density}, below the density of {plan.density:.4g} to be "
                "reached"
            )
        return super().plan(plan)

    def due(self, step: int, total: int) -> bool:
        return self.schedule.due(step, total)

    def counts(self, masks: Masks, left: float) -> dict[str, int]:
        """Active weights of each layer while the share `left` of those to be pruned is still there."""
        numel = {name: weight.numel() for name, weight in masks.weights.items()}
        end, total = sum(masks.planned.values()), sum(numel.values())
        more = left * (self.initial_density * total - end) / max(1, total - end)
        return {name: count + round(more * (numel[name] - count)) for name, count in masks.planned.items()}

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        for name, count in self.counts(masks, left=1).items():
            masks[name] = largest(random_scores(masks.weights[name], seed, name), count)

    def update(
        self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], step: int, total: int, seed: int
    ) -> int:
        moved = self.prune(masks, optimizers, step, total)
        masks.mask_gradients()
        return moved

    @torch.no_grad()
    def prune(self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], step: int, total: int) -> int:
        """`update` without touching gradients."""
        optimizers = list(optimizers)
        moved = 0
        for name, count in self.counts(masks, self.schedule.left(step, total)).items():
            new = drop(masks.weights[name], masks[name], masks.active[name] - count)
            moved += replace(masks, name, new, optimizers)
        return moved
