"""How masks move. A sparsifier states what is its own, mostly one score; the update itself is the same for all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..masks.inplace import clear
from ..masks.masks import Masks
from ..sparsity.plan import Plan
from .patterns.base import Unstructured

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


def _optimizer_state(optimizers: Iterable[torch.optim.Optimizer], weight: Tensor) -> list[Tensor]:
    """Momenta and the like: whatever an optimizer keeps per weight."""
    return [
        value
        for optimizer in optimizers
        for value in optimizer.state.get(weight, {}).values()
        if isinstance(value, Tensor) and value.shape == weight.shape
    ]
