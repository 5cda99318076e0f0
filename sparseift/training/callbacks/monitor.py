"""Functions shared by the callbacks that log measurements."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import pytorch_lightning as pl
from torch.utils.tensorboard import SummaryWriter

from ...errors import UserError
from ..loggers.tensorboard import TensorBoard


def log(trainer: pl.Trainer, metrics: Mapping[str, float], steps: int) -> None:
    """Log values to all loggers of a run.

    Args:
        metrics: Values by name.
        steps: Number of optimizer steps before the measurement. Loggers count steps from 0; values before the first
            step are logged with it.
    """
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), step=max(0, steps - 1))


def warn_if_never(trainer: pl.Trainer, every_n_steps: int, key: str) -> None:
    """Warn on rank 0 if `every_n_steps`, the value of the option `key`, exceeds the number of steps of the run."""
    steps = trainer.estimated_stepping_batches
    if every_n_steps > steps and trainer.is_global_zero:
        warnings.warn(f"{key} is {every_n_steps}, but this run has only {steps} steps", stacklevel=2)


def tensorboard_of(trainer: pl.Trainer, needed_by: str) -> SummaryWriter:
    """Return the TensorBoard writer of a run. On ranks other than 0, it does nothing.

    Args:
        needed_by: Config choice that needs TensorBoard, for the error message.

    Raises:
        UserError: TensorBoard is not among the loggers.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoard):
            return logger.experiment
    raise UserError(f"{needed_by} writes to TensorBoard, which is not among the loggers; add logger=[tensorboard]")
