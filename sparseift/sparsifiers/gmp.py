"""Gradual magnitude pruning (GMP): from a dense network to the planned density along a cubic schedule.

Zhu & Gupta, "To prune, or not to prune", 2017, equation 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..common.checks import number, require
from ..masks import Masks
from ..sparsity import Plan
from .base import Sparsifier, Update
from .probe import Probe
from .schedule import check_span


class GMP(Sparsifier):
    """Prunes each layer gradually to its planned number of active weights. Pruned weights do not grow again.

    The last step of pruning is always an update, so that the plan is met. Each pruning takes the nearest number of
    active weights that the pattern allows.

    Args:
        update_interval: Optimizer steps between prunings.
        begin: Start of pruning, as a fraction of all optimizer steps.
        end: End of pruning, as a fraction of all optimizer steps.
        initial_density: Density of all masked layers together at the start. The same fraction of the weights to prune
            is active in each layer.
    """

    prunes = True
    update_interval: int

    def __init__(self, update_interval: int, begin: float, end: float, initial_density: float):
        check_span(update_interval, begin, end)
        self.update_interval, self.begin, self.end = update_interval, begin, end
        self.initial_density = number("sparsifier.initial_density", initial_density, 0, 1, open_at="(")

    def accept(self, plan: Plan) -> None:
        expected = f"a density >= {plan.density:.4g}, which training ends with"
        require(self.initial_density >= plan.density, "sparsifier.initial_density", self.initial_density, expected)

    def due(self, step: int, total: int) -> bool:
        first, last = self._span(total)
        return step == last or (first < step < last and step % self.update_interval == 0)

    def remaining(self, step: int, total: int) -> float:
        """Return the fraction of the weights to prune that are still active after optimizer step `step` of `total`."""
        first, last = self._span(total)
        return (1 - min(1.0, max(0.0, (step - first) / (last - first)))) ** 3

    def counts(self, masks: Masks, remaining: float) -> dict[str, int]:
        """Return the number of active weights of each layer, where this fraction of the weights to prune remains."""
        numel = {name: weight.numel() for name, weight in masks.weights.items()}
        end, total = sum(masks.planned.values()), sum(numel.values())
        more = remaining * (self.initial_density * total - end) / max(1, total - end)
        return {name: count + round(more * (numel[name] - count)) for name, count in masks.planned.items()}

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        fitting = {}
        for name, count in self.counts(masks, remaining=1).items():
            weight = masks.weights[name]
            fitting[name] = masks.pattern.nearest(tuple(weight.shape), count, masks.planned[name], weight.numel())
        masks.choose(fitting, seed)

    @torch.no_grad()
    def update(self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], at: Update) -> None:
        optimizers = list(optimizers)
        masks.check(optimizers)
        for name, count in self.counts(masks, self.remaining(at.step, at.total)).items():
            weight, pattern = masks.whole_weight(name), masks.pattern
            fitting = pattern.nearest(tuple(weight.shape), count, masks.planned[name], masks.active[name])
            masks.move(name, pattern.largest(weight.abs(), fitting, among=masks[name]), optimizers)

    def _span(self, total: int) -> tuple[int, int]:
        last = max(1, int(self.end * total))
        return min(int(self.begin * total), last - 1), last
