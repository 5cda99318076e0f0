"""Learning rates over the epochs of a run, with or without a linear warm-up. Step them once an epoch."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR

from .errors import UserError


def cosine(optimizer: Optimizer, epochs: int, warmup: int) -> LRScheduler:
    """Half a cosine from the full rate down to zero at the end of `epochs`, after `warmup` epochs."""
    _check(warmup, epochs - 1)
    return _warmed_up(optimizer, CosineAnnealingLR(optimizer, epochs - warmup), warmup)


def multi_step(optimizer: Optimizer, milestones: Sequence[int], gamma: float, warmup: int) -> LRScheduler:
    """The full rate, times `gamma` from each milestone on: epochs of the run, counted from 0, the warm-up included."""
    _check(warmup, min(milestones))
    return _warmed_up(optimizer, MultiStepLR(optimizer, [epoch - warmup for epoch in milestones], gamma), warmup)


def _check(warmup: int, most: int) -> None:
    if not isinstance(warmup, int) or not 0 <= warmup <= most:
        raise UserError(f"recipe.warmup_epochs is {warmup}; a whole number from 0 to {most} is meant")


def _warmed_up(optimizer: Optimizer, schedule: LRScheduler, epochs: int) -> LRScheduler:
    """1/n, 2/n, ..., n/n of the full rate in the first n epochs (Goyal et al. 2017, section 2.2), then the schedule."""
    if epochs == 0:
        return schedule
    first = LinearLR(optimizer, start_factor=1 / epochs, total_iters=max(1, epochs - 1))
    return SequentialLR(optimizer, [first, schedule], milestones=[epochs])
