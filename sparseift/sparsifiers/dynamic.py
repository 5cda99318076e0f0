"""Drop and grow: the update that SET and RigL share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..common.seeds import generator_for
from ..masks.inplace import silence
from ..masks.masks import Masks
from ..masks.topk import largest
from .base import Sparsifier, replace
from .patterns.base import Unstructured
from .schedule import Schedule


class DropGrow(Sparsifier):
    """Drops the active weights of smallest magnitude and grows as many elsewhere, layer by layer.

    Just-dropped weights may be grown again and then count as never dropped: they keep value and optimizer state
    (RigL's authors). Grown weights start at zero with zero optimizer state, and take their first step with the next
    gradient.
    """

    def __init__(
        self,
        update_interval: int,
        begin: float,
        end: float,
        drop_fraction: float,
        anneal: str,
        pattern: Unstructured = Sparsifier.pattern,
    ):
        self.schedule = Schedule(update_interval, begin, end, drop_fraction, anneal)
        self.pattern = pattern

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
        optimizers = list(optimizers)
        if not _finite(optimizers):
            masks.mask_gradients()
            return 0
        fraction = self.fraction(step, total)
        return sum(
            self._update_layer(masks, name, optimizers, fraction, generator_for(weight.device, seed, step, name))
            for name, weight in masks.weights.items()
            if weight.grad is not None
        )

    def _update_layer(
        self,
        masks: Masks,
        name: str,
        optimizers: list[torch.optim.Optimizer],
        fraction: float,
        generator: torch.Generator,
    ) -> int:
        """A function of its own, so that nothing of one layer is still there for the next."""
        weight, old, pattern = masks.weights[name], self.pattern.units(masks[name]), self.pattern
        shape, count = tuple(weight.shape), int(old.count_nonzero())
        kept = largest(pattern.pool(weight.abs()), count - int(fraction * count), among=old)
        marks = pattern.refill(pattern.pool(self.grow_score(weight, generator)), kept, old, shape)
        new = pattern.spread(marks, shape)
        silence(weight.grad, masks[name] & new)
        return replace(masks, name, new, optimizers)


def _finite(optimizers: Iterable[torch.optim.Optimizer]) -> bool:
    """Whether every gradient is, of masked layers and others: a loss scaler skips the step for any that is not."""
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None and p.grad.numel()]
    ends = [torch.stack(torch.aminmax(gradient)) for gradient in gradients]  # NaN is both; isfinite would copy
    return all(bool(end.isfinite().all()) for end in ends)
