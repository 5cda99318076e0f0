"""How masks move. A sparsifier states what is its own, mostly one score; the update itself is the same for all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..masks import Masks, clear, generator_for, silence
from ..selection import largest
from ..sparsity.plan import Plan
from .patterns import Unstructured
from .schedule import Schedule

if TYPE_CHECKING:
    from .probe import Probe


class Sparsifier:
    """Owns no state: an update depends on the step, the seed, the weights and the gradients alone.

    dense_gradient: whether growing reads the gradient of masked weights, which is then computed and paid for.
    pattern: of the masks. batches: how many training batches `start` computes the masks from.
    """

    dense_gradient: bool = False
    pattern: Unstructured = Unstructured()
    batches: int = 0

    def plan(self, plan: Plan) -> Plan:
        """The plan with counts that these masks can have. Raises UserError where they can't keep to it."""
        return self.pattern.plan(plan)

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        """Set the masks that training begins with, where they are not those of `Masks.random`. Called once, before the
        first step, while no weight is set to zero yet. probe: of `batches` training batches."""

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


@torch.no_grad()
def replace(masks: Masks, name: str, new: Tensor, optimizers: Iterable[torch.optim.Optimizer]) -> int:
    """Give a layer another mask. Weights that stay active keep value and optimizer state; of all others these are zero.
    Returns how many weights stopped being active."""
    weight, stay = masks.weights[name], masks[name] & new
    for tensor in (weight, *_optimizer_state(optimizers, weight)):
        clear(tensor, stay)
    left = masks.active[name] - int(stay.count_nonzero())
    masks[name] = new
    return left


def _finite(optimizers: Iterable[torch.optim.Optimizer]) -> bool:
    """Whether every gradient is, of masked layers and others: a loss scaler skips the step for any that is not."""
    parameters = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None and p.grad.numel()]
    ends = [torch.stack(torch.aminmax(gradient)) for gradient in gradients]  # NaN is both; isfinite would copy
    return all(bool(end.isfinite().all()) for end in ends)


def _optimizer_state(optimizers: Iterable[torch.optim.Optimizer], weight: Tensor) -> list[Tensor]:
    """Momenta and the like: whatever an optimizer keeps per weight."""
    return [
        value
        for optimizer in optimizers
        for value in optimizer.state.get(weight, {}).values()
        if isinstance(value, Tensor) and value.shape == weight.shape
    ]
