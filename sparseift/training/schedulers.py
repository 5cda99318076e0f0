"""Learning rate schedules with an optional linear warm-up. Step them once an epoch.

The learning rate is a function of the epoch alone: a run that is resumed with more epochs follows the schedule of the
longer run from there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..common import checks


class Scheduled(LambdaLR):
    """A `LambdaLR` that also computes the learning rate of the epoch at which a run resumes."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group, full, share in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = full * share(self.last_epoch)


def cosine(optimizer: Optimizer, epochs: int, warmup: int) -> Scheduled:
    """Return a schedule that follows half a cosine from the full learning rate to zero.

    Args:
        epochs: At whose end the learning rate is zero.
        warmup: Epochs of the linear warm-up, which come first.
    """
    checks.integer("recipe.warmup_epochs", warmup, 0, epochs - 1)
    return _scheduled(optimizer, warmup, lambda epoch: (1 + cos(pi * (epoch - warmup) / (epochs - warmup))) / 2)


def multi_step(optimizer: Optimizer, milestones: Sequence[int], gamma: float, warmup: int) -> Scheduled:
    """Return a schedule that multiplies the learning rate by `gamma` at each milestone.

    Args:
        milestones: Epochs of the run, counted from 0. The warm-up counts.
        warmup: Epochs of the linear warm-up, which come first.
    """
    checks.integer("recipe.warmup_epochs", warmup, 0, min(milestones))
    return _scheduled(optimizer, warmup, lambda epoch: gamma ** bisect_right(sorted(milestones), epoch))


def _scheduled(optimizer: Optimizer, warmup: int, share: Callable[[int], float]) -> Scheduled:
    """Warm-up by 1/n, 2/n, ..., n/n in the first n epochs (Goyal et al. 2017, section 2.2), then this share."""
    return Scheduled(optimizer, lambda epoch: (epoch + 1) / warmup if epoch < warmup else share(epoch))
