"""Numbers to all loggers of a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import pytorch_lightning as pl
from torch.utils.tensorboard import SummaryWriter

from ...errors import UserError
from ..loggers.tensorboard import TensorBoard


def log(trainer: pl.Trainer, metrics: Mapping[str, float], steps: int) -> None:
    """Log what holds after so many optimizer steps; loggers count them from 0, and what holds before the first step
    goes to it."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), step=max(0, steps - 1))


def at_least_one(value: int, key: str) -> int:
    """The value. Raises UserError unless it is a whole number, 1 or more; key: where it was given."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{key} is {value}; a whole number, 1 or more, is meant")
    return value


def warn_if_never(trainer: pl.Trainer, every_n_steps: int, key: str) -> None:
    """Say, on rank 0, that a run is too short for what comes due in every n-th step. key: where that was given."""
    steps = trainer.estimated_stepping_batches
    if every_n_steps > steps and trainer.is_global_zero:
        warnings.warn(f"{key} is {every_n_steps}, and this run has {steps} steps: none comes due", stacklevel=2)


def tensorboard_of(trainer: pl.Trainer, needed_by: str) -> SummaryWriter:
    """The writer of a run's TensorBoard, which on ranks but 0 does nothing. Raises UserError if it has none."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoard):
            return logger.experiment
    raise UserError(f"{needed_by} writes to TensorBoard, which is not among the loggers: logger=[tensorboard,...]")
