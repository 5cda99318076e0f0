"""Drop and grow, the update of SET and RigL."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..common.checks import one_of, require
from ..common.seeds import stable_seed
from ..masks import Masks
from ..masks.optimizers import parameters_of
from ..masks.sharded import anywhere, local
from ..masks.topk import largest
from .base import Sparsifier, Update
from .schedule import Schedule

GROWN_STATES = ("matched", "new")
"""What the optimizer state of grown weights starts with (see `DropGrow`)."""


class DropGrow(Sparsifier):
    """Drops the active weights of smallest magnitude and grows as many elsewhere, layer by layer.

    A subclass defines `grow_score`. A weight that one update drops and grows keeps its value and optimizer state, as in
    the code of RigL's authors. Other grown weights start at zero. Nothing is updated if a gradient is not finite.

    Args:
        update_interval: Optimizer steps between updates.
        begin: Start of the updates, as a fraction of all optimizer steps, excluded.
        end: End of the updates, as a fraction of all optimizer steps, excluded.
        drop_fraction: Fraction of active weights that the first update drops.
        anneal: How the drop fraction decreases: cosine, constant, linear or exponential.
        grown_state: Optimizer state of grown weights: "new" for that of a new parameter, or "matched" for the same with
            second moments as large as those of the other weights of the layer, under Adam and optimizers that keep the
            same. Their first steps are then no larger than those of the other weights.
    """

    def __init__(
        self,
        update_interval: int,
        begin: float,
        end: float,
        drop_fraction: float,
        anneal: str,
        grown_state: str = "matched",
    ):
        self.schedule = Schedule(update_interval, begin, end, drop_fraction, anneal)
        self.update_interval = update_interval
        self.grown_state = one_of("sparsifier.grown_state", grown_state, GROWN_STATES)

    def due(self, step: int, total: int) -> bool:
        return self.schedule.due(step, total)

    def fraction(self, step: int, total: int) -> float:
        return self.schedule.fraction(step, total)

    def grow_score(self, weight: Tensor, seed: int) -> Tensor:
        """Return the scores of growth of a layer. The dropped and masked weights with the largest scores grow.

        Args:
            weight: Weight of the layer. If `dense_gradient` is true, `weight.grad` holds all gradients.
            seed: Seed of random numbers, another one for each (seed, step, layer). With `uniform_like`, they are the
                same on every device.

        Returns:
            Scores, of the shape of the weight.
        """
        raise NotImplementedError

    @torch.no_grad()
    def update(self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], at: Update) -> None:
        optimizers = list(optimizers)
        masks.check(optimizers)
        if not _finite(optimizers):
            return
        fraction = self.fraction(at.step, at.total)
        for name, weight in masks.weights.items():
            if weight.grad is not None:
                before = masks.active[name]
                new = self._updated(masks, name, fraction, stable_seed(at.seed, at.step, name))
                masks.move(name, new, optimizers, self.grown_state == "matched", self.dense_gradient)
                found, expected = masks.active[name], f"{before}, as before the update"
                require(found == before, f"the number of active weights of {name}", found, expected)

    def _updated(self, masks: Masks, name: str, fraction: float, seed: int) -> Tensor:
        """The new mask of a layer. As a separate function, it frees its tensors before the next layer."""
        weight, mask, pattern = masks.whole_weight(name, self.dense_gradient), masks[name], masks.pattern
        old, shape = pattern.unit_mask(mask), tuple(weight.shape)
        count = masks.active[name] if old is mask else int(old.count_nonzero())  # units may be weights
        dropped = int(fraction * count)
        kept = largest(pattern.pool(weight.abs()), count - dropped, among=old)
        units = pattern.refill(pattern.pool(self.grow_score(weight, seed)), kept, old, dropped, shape)
        return pattern.weight_mask(units, shape)


def _finite(optimizers: Iterable[torch.optim.Optimizer]) -> bool:
    """Whether the gradients of all parameters are finite. A loss scaler skips the step otherwise."""
    gradients = [p.grad for p in parameters_of(optimizers) if p.grad is not None]
    numbers = [_numbers(local(gradient)) for gradient in gradients]
    ends = [torch.stack(torch.aminmax(one)) for one in numbers if one.numel()]  # NaN propagates; isfinite needs a copy
    if not gradients:
        return True
    wrong = ~torch.cat([end.to(ends[0].device) for end in ends]).isfinite() if ends else torch.zeros(0)
    return not anywhere(gradients[0], wrong.any())


def _numbers(gradient: Tensor) -> Tensor:
    """The real numbers that a gradient consists of, of a sparse one those that are stored."""
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return torch.view_as_real(values) if values.is_complex() else values
