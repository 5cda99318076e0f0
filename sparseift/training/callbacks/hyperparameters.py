"""Logs the hyperparameters of a run."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from ...runs.metric import Metric
from ..loggers import TensorBoard


class Hyperparameters(pl.Callback):
    """Logs the hyperparameters to every logger, and to TensorBoard the name of the metric to compare runs by."""

    def __init__(self, params: dict[str, Any], metric: Metric):
        self.params = params
        self.compared_by = {f"{stage}/{metric.name}": 0.0 for stage in ("val", "test")}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for logger in trainer.loggers:
            more = [self.compared_by] if isinstance(logger, TensorBoard) else []
            logger.log_hyperparams(self.params, *more)
