"""Dense warm-up: dense training, one pruning by magnitude, then another sparsifier.

This is the first phase of AC/DC (Peste et al., NeurIPS 2021), and sparse training from an early-trained network
(Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..common.checks import number, require
from ..masks import Masks
from ..sparsity import Plan
from .base import Sparsifier, Update
from .probe import Probe


class DenseWarmup(Sparsifier):
    """Starts with all weights active.

    Args:
        until: End of dense training, as a fraction of all optimizer steps.
        then: Sparsifier of the remaining steps, on its own schedule.
    """

    prunes = True

    def __init__(self, until: float, then: Sparsifier):
        self.until = number("sparsifier.until", until, 0, 1, open_at="(")
        expected = "a sparsifier that keeps the random initial masks, such as rigl"
        require(isinstance(then, Sparsifier), "sparsifier.then", then, expected)
        require(not then.sets_initial_masks, "sparsifier.then", type(then).__name__, expected)
        self.then = then
        self.dense_gradient = then.dense_gradient

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        for name, weight in masks.weights.items():
            masks[name] = torch.ones_like(weight)

    def due(self, step: int, total: int) -> bool:
        end = self._end(total)
        return step == end or (step > end and self.then.due(step, total))

    def check_updates(self, total: int, after: int = 0, node: str = "sparsifier") -> None:
        super().check_updates(total, after, node)
        self.then.check_updates(total, max(after, self._end(total)), f"{node}.then")

    def fraction(self, step: int, total: int) -> float:
        return self.then.fraction(step, total) if step > self._end(total) else 0.0

    @torch.no_grad()
    def update(self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], at: Update) -> None:
        if at.step > self._end(at.total):
            self.then.update(masks, optimizers, at)
            return
        optimizers = list(optimizers)
        masks.check(optimizers)
        for name in masks:
            weight = masks.whole_weight(name)
            masks.move(name, masks.pattern.largest(weight.abs(), masks.planned[name]), optimizers)

    def _end(self, total: int) -> int:
        return max(1, int(self.until * total))
