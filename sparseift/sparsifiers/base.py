"""The interface of a sparsifier: how the masks change during training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..masks.masks import Masks
from ..sparsity.plan import Plan

if TYPE_CHECKING:
    from .probe import Probe


@dataclass(frozen=True)
class Update:
    """The moment of an update.

    Args:
        step: Optimizer step in which the masks are updated (1, 2, ...).
        total: Optimizer steps of the whole training.
        seed: Seed of what is drawn at random.
    """

    step: int
    total: int
    seed: int


class Sparsifier:
    """Chooses the masks. This one keeps those of `Masks.random`.

    A sparsifier has no state of its own: an update depends on the moment, the weights and the gradients alone.

    Attributes:
        dense_gradient: Whether `update` reads the gradients of masked weights, which then have to be computed.
        batches: Number of training batches that `start` computes the masks from.
        prunes: Whether the first masks are denser than planned and updates prune them.
    """

    dense_gradient: bool = False
    batches: int = 0
    prunes: bool = False

    @property
    def sets_first_masks(self) -> bool:
        """Whether `start` replaces the masks of `Masks.random`."""
        return type(self).start is not Sparsifier.start

    def accept(self, plan: Plan) -> None:
        """Check that training can end with the plan.

        Raises:
            UserError: It cannot.
        """

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        """Set the first masks. Called once, before the first step, while no weight is set to zero yet.

        Args:
            masks: Masks of `Masks.random`.
            plan: The plan that they were made from.
            seed: Seed of what is drawn at random.
            probe: The network with `batches` training batches, if `batches` is not 0.
        """

    def due(self, step: int, total: int) -> bool:
        """Return whether the masks are updated in optimizer step `step` (1, 2, ...) of `total`."""
        return False

    def fraction(self, step: int, total: int) -> float:
        """Return the fraction of active weights that an update in this step drops."""
        return 0.0

    def update(self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], at: Update) -> None:
        """Update the masks by `Masks.move`. The caller masks the gradients afterwards.

        Args:
            masks: Masks to be updated.
            optimizers: Optimizers of the network, which have not made this step yet.
            at: The moment. Gradients are final: accumulated, averaged over ranks, unscaled.
        """
