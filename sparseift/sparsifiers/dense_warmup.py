"""Dense warm-up: train densely for a while, prune once by magnitude, then let another sparsifier go on.

The first phase of AC/DC (Peste et al., NeurIPS 2021) and of sparse training from an early-trained network (Frankle et
al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..errors import UserError
from ..masks.masks import Masks
from ..sparsity.plan import Plan
from .base import Sparsifier, replace
from .probe import Probe


class DenseWarmup(Sparsifier):
    """until: when to prune, as a fraction of all steps. then: the sparsifier from there on, on its own schedule and
    with its own pattern."""

    def __init__(self, until: float, then: Sparsifier):
        if not isinstance(until, int | float) or not 0 < until <= 1:
            raise UserError(f"sparsifier.until is {until}; a fraction of training in (0, 1] is meant")
        if type(then).start is not Sparsifier.start:
            raise UserError(f"sparsifier.then is {type(then).__name__}, which has a start of its own; RigL is meant")
        self.until = until
        self.then = then
        self.pattern = then.pattern
        self.dense_gradient = then.dense_gradient

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        for name, weight in masks.weights.items():
            masks[name] = torch.ones_like(weight)

    def due(self, step: int, total: int) -> bool:
        end = self._end(total)
        return step == end or (step > end and self.then.due(step, total))

    def fraction(self, step: int, total: int) -> float:
        return self.then.fraction(step, total) if step > self._end(total) else 0.0

    @torch.no_grad()
    def update(
        self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], step: int, total: int, seed: int
    ) -> int:
        if step > self._end(total):
            return self.then.update(masks, optimizers, step, total, seed)
        optimizers = list(optimizers)
        moved = sum(
            replace(masks, name, self.pattern.largest(weight.abs(), masks.planned[name]), optimizers)
            for name, weight in masks.weights.items()
        )
        masks.mask_gradients()
        return moved

    def _end(self, total: int) -> int:
        return max(1, int(self.until * total))
