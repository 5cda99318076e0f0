"""Learning rates over the epochs of a run, with or without a linear warm-up. Step them once an epoch.

Each rate is a function of the epoch alone: a run that goes on with more epochs than it began with follows the schedule
of the longer run from there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..errors import UserError


class Scheduled(LambdaLR):
    """The rate at every epoch by a function of the epoch, also at the one where a run goes on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group, full, share in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = full * share(self.last_epoch)


def cosine(optimizer: Optimizer, epochs: int, warmup: int) -> Scheduled:
    """Half a cosine from the full rate down to zero at the end of `epochs`, after `warmup` epochs."""
    _check(warmup, epochs - 1)
    return _scheduled(optimizer, warmup, lambda epoch: (1 + cos(pi * (epoch - warmup) / (epochs - warmup))) / 2)


def multi_step(optimizer: Optimizer, milestones: Sequence[int], gamma: float, warmup: int) -> Scheduled:
    """The full rate, times `gamma` from each milestone on: epochs of the run, counted from 0, the warm-up included."""
    _check(warmup, min(milestones))
    return _scheduled(optimizer, warmup, lambda epoch: gamma ** bisect_right(sorted(milestones), epoch))


def _check(warmup: int, most: int) -> None:
    if not isinstance(warmup, int) or not 0 <= warmup <= most:
        raise UserError(f"recipe.warmup_epochs is {warmup}; a whole number from 0 to {most} is meant")


def _scheduled(optimizer: Optimizer, warmup: int, share: Callable[[int], float]) -> Scheduled:
    """1/n, 2/n, ..., n/n of the full rate in the first n epochs (Goyal et al. 2017, section 2.2), then this share."""
    return Scheduled(optimizer, lambda epoch: (epoch + 1) / warmup if epoch < warmup else share(epoch))
