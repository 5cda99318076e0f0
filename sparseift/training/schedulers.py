"""Learning rate schedules with linear warm-up, which step once per epoch or once per optimizer step.

The learning rate depends on the epoch or the step alone: a run that resumes with more epochs follows the schedule of
the longer run from there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from math import cos, pi
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..common import checks

RUN_STEPS = "run_steps"
"""Argument of a schedule that the program sets to the number of optimizer steps of the recipe."""


class Scheduled(LambdaLR):
    """A `LambdaLR` that computes the learning rate again when a run resumes, and accepts new parameter groups.

    A group that is added during training follows the schedule from the learning rate that it is added with, or from its
    `initial_lr`.
    """

    def get_lr(self) -> list[float | Tensor]:
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            self.base_lrs.append(group.setdefault("initial_lr", group["lr"]))
        self._follow_base_lrs()
        return super().get_lr()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._follow_base_lrs()
        for group, full, factor in zip(self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True):
            group["lr"] = full * factor(self.last_epoch)

    def _follow_base_lrs(self) -> None:
        self.lr_lambdas += self.lr_lambdas[:1] * (len(self.base_lrs) - len(self.lr_lambdas))


def cosine(optimizer: Optimizer, epochs: int, warmup: int) -> Scheduled:
    """Return a schedule that decreases the learning rate to zero along half a cosine.

    Args:
        epochs: Epochs of the run, including those of the warm-up.
        warmup: Epochs of linear warm-up.
    """
    checks.integer("recipe.warmup_epochs", warmup, 0, epochs - 1)
    return _scheduled(optimizer, warmup, lambda epoch: (1 + cos(pi * (epoch - warmup) / (epochs - warmup))) / 2)


def multi_step(optimizer: Optimizer, milestones: Sequence[int], gamma: float, warmup: int) -> Scheduled:
    """Return a schedule that multiplies the learning rate by `gamma` at each milestone.

    Args:
        milestones: Epochs of the run, counted from 0, including those of the warm-up.
        warmup: Epochs of linear warm-up.
    """
    checks.integer("recipe.warmup_epochs", warmup, 0, min(milestones))
    return _scheduled(optimizer, warmup, lambda epoch: gamma ** bisect_right(sorted(milestones), epoch))


def cosine_by_steps(optimizer: Optimizer, run_steps: int, warmup: int, floor: float) -> Scheduled:
    """Return a schedule that decreases the learning rate along half a cosine, for `recipe.scheduler_interval=step`.

    Args:
        run_steps: Optimizer steps of the whole recipe, including those of the warm-up. The program sets it, also for a
            run that options of the Trainer end earlier.
        warmup: Optimizer steps of linear warm-up.
        floor: Learning rate at the end, as a fraction of the highest one.
    """
    checks.integer("recipe.scheduler.warmup", warmup, 0, run_steps - 1)
    checks.number("recipe.scheduler.floor", floor, 0, 1)

    def factor(step: int) -> float:
        return floor + (1 - floor) * (1 + cos(pi * min(1.0, (step - warmup) / (run_steps - warmup)))) / 2

    return _scheduled(optimizer, warmup, factor)


def with_length(scheduler: Callable[..., Any], run_steps: int | None) -> Callable[..., Any]:
    """Return the schedule with the length of the recipe, if it takes one.

    Args:
        scheduler: Called with an optimizer.
        run_steps: Optimizer steps of the whole recipe; None if they are not known before it starts.

    Raises:
        UserError: The schedule needs the length, which is not known.
    """
    try:
        needed = RUN_STEPS in signature(scheduler).parameters
    except (TypeError, ValueError):  # the arguments of a partial do not fit, which its call reports
        needed = False
    if not needed:
        return scheduler
    checks.require(
        run_steps is not None, "the number of optimizer steps", None, "data with a length, for this schedule"
    )
    return partial(scheduler, run_steps=run_steps)


def _scheduled(optimizer: Optimizer, warmup: int, factor: Callable[[int], float]) -> Scheduled:
    """Warm up by factors 1/n, 2/n, ..., n/n (Goyal et al. 2017, section 2.2), then follow `factor`."""
    return Scheduled(optimizer, lambda time: (time + 1) / warmup if time < warmup else factor(time))
