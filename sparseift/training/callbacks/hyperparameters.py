"""Hyperparameters for the loggers."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class Hyperparameters(pl.Callback):
    """Sends the hyperparameters of the run to every logger."""

    def __init__(self, params: dict[str, Any]):
        self.params = params

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self.params)
