"""The interface of a sparsifier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..common.checks import require
from ..masks import Masks
from ..sparsity import Plan
from .probe import Probe


@dataclass(frozen=True)
class Update:
    """The moment of an update.

    Args:
        step: Optimizer step (1, 2, ...) in which the masks are updated.
        total: Number of optimizer steps of the whole training.
        seed: Seed of random numbers.
    """

    step: int
    total: int
    seed: int


class Sparsifier:
    """Chooses the masks. This base class keeps the initial masks.

    A sparsifier has no state: an update depends on its arguments alone.

    Attributes:
        dense_gradient: Whether `update` reads the gradients of masked weights.
        batches: Number of training batches that `start` needs.
        prunes: Whether the initial masks are denser than planned, and updates prune them.
        update_interval: Optimizer steps between updates, if they have a fixed interval.
    """

    dense_gradient: bool = False
    batches: int = 0
    prunes: bool = False
    update_interval: int | None = None

    @property
    def sets_initial_masks(self) -> bool:
        """Whether `start` replaces the initial masks."""
        return type(self).start is not Sparsifier.start

    def accept(self, plan: Plan) -> None:
        """Raise `UserError` if training with this sparsifier cannot end with the plan."""

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        """Set the initial masks. Called once, before the first step and before masked weights are set to zero.

        Args:
            masks: Masks with the planned numbers of active weights, random or of the largest weights.
            plan: The plan of the masks.
            seed: Seed of random numbers.
            probe: The network with `batches` training batches, if `batches` is not 0.
        """

    def due(self, step: int, total: int) -> bool:
        """Return whether the masks are updated in optimizer step `step` (1, 2, ...) of `total`."""
        return False

    def updates(self, total: int) -> list[int]:
        """Return the optimizer steps, of `total`, that update the masks."""
        return [step for step in range(1, total + 1) if self.due(step, total)]

    @property
    def moves(self) -> bool:
        """Whether the masks are meant to change during training."""
        return type(self).due is not Sparsifier.due

    def check_updates(self, total: int, after: int = 0, node: str = "sparsifier") -> None:
        """Raise `UserError` if the masks are meant to change, but do not.

        Args:
            total: Number of optimizer steps of the whole training.
            after: Step from which on this sparsifier updates the masks, excluded.
            node: The node of the config that chooses this sparsifier.
        """
        if not self.moves or any(step > after for step in self.updates(total)):
            return
        steps = f"optimizer steps {after + 1} to {total}" if after else f"the {total} optimizer steps"
        why = f"none of {steps} of this run updates the masks (for masks that stay as they are: {node}=static)"
        if self.update_interval is None:
            require(False, node, type(self).__name__, f"another sparsifier or more steps; {why}")
        require(False, f"{node}.update_interval", self.update_interval, f"a shorter interval or more steps; {why}")

    def fraction(self, step: int, total: int) -> float:
        """Return the drop fraction of an update in optimizer step `step`."""
        return 0.0

    def update(self, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], at: Update) -> None:
        """Update the masks with `Masks.move`, before the optimizer step. The caller masks the gradients afterwards.

        Gradients are accumulated, averaged over ranks, and unscaled.

        Args:
            masks: Masks to update.
            optimizers: Optimizers of the network.
            at: Moment of the update.
        """
