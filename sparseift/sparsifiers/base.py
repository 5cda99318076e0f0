"""How masks move. A sparsifier states what is its own, mostly one score; the update itself is the same for all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from ..masks import Masks, generator_for
from .drop_grow import drop, grow
from .schedule import Schedule


class Sparsifier:
    """Owns no state: an update depends on the step, the seed, the weights and the gradients alone.

    dense_gradient: whether growing reads the gradient of masked weights, which is then computed and paid for.
    """

    dense_gradient: ClassVar[bool] = False

    def due(self, step: int, total: int) -> bool:
        """Whether the masks are updated in optimizer step `step` (1, 2, ...) of `total`."""
        return False

    def fraction(self, step: int, total: int) -> float:
        """The share of active weights dropped in an update at this step."""
        return 0.0

    def update(
        self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], step: int, total: int, seed: int
    ) -> int:
        """Move the masks. Called with the final gradients, before the optimizer steps. Returns how many weights
        moved."""
        return 0


class DropGrow(Sparsifier):
    """Drops the active weights of smallest magnitude and grows as many elsewhere, layer by layer.

    Just-dropped weights may be grown again and then count as never dropped: they keep value and optimizer state
    (RigL's authors). Grown weights start at zero with zero optimizer state, and take their first step with the next
    gradient.
    """

    def __init__(self, update_interval: int, begin: float, end: float, drop_fraction: float, anneal: str):
        self.schedule = Schedule(update_interval, begin, end, drop_fraction, anneal)

    def due(self, step: int, total: int) -> bool:
        return self.schedule.due(step, total)

    def fraction(self, step: int, total: int) -> float:
        return self.schedule.fraction(step, total)

    def grow_score(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """Score of every position of a layer, of the weight's shape; the largest outside the mask are grown.
        `weight.grad` is the dense gradient."""
        raise NotImplementedError

    @torch.no_grad()
    def update(
        self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], step: int, total: int, seed: int
    ) -> int:
        if not _finite(masks):
            masks.mask_gradients()
            return 0
        optimizers = list(optimizers)
        fraction = self.fraction(step, total)
        moved = 0
        for name, weight in masks.weights.items():
            if weight.grad is None:
                continue
            count = int(fraction * masks.active[name])
            old = masks[name]
            score = self.grow_score(weight, generator_for(weight.device, seed, step, name))
            new = grow(score, drop(weight, old, count), count)
            stay = old & new
            for tensor in (weight, weight.grad, *_optimizer_state(optimizers, weight)):
                tensor.mul_(stay)
            masks[name] = new
            moved += masks.active[name] - int(stay.sum())
        return moved


def _finite(masks: Masks) -> bool:
    gradients = [weight.grad for weight in masks.weights.values() if weight.grad is not None]
    return all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def _optimizer_state(optimizers: Iterable[torch.optim.Optimizer], weight: Tensor) -> list[Tensor]:
    """Momenta and the like: whatever an optimizer keeps per weight."""
    return [
        value
        for optimizer in optimizers
        for value in optimizer.state.get(weight, {}).values()
        if isinstance(value, Tensor) and value.shape == weight.shape
    ]
