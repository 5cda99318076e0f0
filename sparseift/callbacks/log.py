"""Numbers to all loggers of a run."""

from collections.abc import Mapping

import pytorch_lightning as pl


def log(trainer: pl.Trainer, metrics: Mapping[str, float], steps: int) -> None:
    """Log what holds after so many optimizer steps; loggers count them from 0, and what holds before the first step
    goes to it."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(metrics), step=max(0, steps - 1))
