"""The progress of a run: a progress bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.utilities import rank_zero_only

from ...masks import Masks
from ...runs.metric import Metric
from ...sparsity import Plan

SECONDS = 0.5
"""Seconds between updates of the metrics on the bar. Reading metrics synchronizes with the device."""


class Bar(RichProgressBar):
    """Shows the loss, the validation metrics, and the density of the masked layers."""

    def __init__(self, masked: Masks | Plan):
        super().__init__()
        self.masked = masked
        self._shown: dict[str, Any] = {}
        self._until = 0.0

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        now = time.monotonic()
        if now >= self._until or not trainer.training:
            metrics = super().get_metrics(trainer, pl_module)
            metrics.pop("v_num", None)
            self._shown = {**metrics, "density": f"{self.masked.density:.4f}"}
            self._until = now + SECONDS
        return self._shown


class Lines(pl.Callback):
    """Prints one line per epoch, for output to a file."""

    def __init__(self, masked: Masks | Plan, metric: Metric):
        self.masked = masked
        self.metric = metric

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        names = "train/loss", "val/loss", f"val/{self.metric.name}"
        shown = [f"{name} {float(metrics[name]):.4f}" for name in names if name in metrics]
        head = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} step {trainer.global_step}"
        print(", ".join([head, *shown, f"density {self.masked.density:.4f}"]), flush=True)


def progress(masked: Masks | Plan, metric: Metric) -> pl.Callback:
    """Return a callback that shows losses, a metric and the density of `masked` on standard output."""
    return Bar(masked) if sys.stdout.isatty() else Lines(masked, metric)


def quiet() -> None:
    """Suppress messages and warnings of Lightning that do not apply."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # data in memory loads faster without workers
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # on every log-in node
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # epochs are logged anyway
    warnings.filterwarnings("ignore", ".*across ranks is zero.*")  # val_size is 0
    warnings.filterwarnings("ignore", ".*LeafSpec.*deprecated.*")  # Lightning uses it itself
    warnings.filterwarnings("ignore", ".*torch.distributed.nn.*deprecated.*", FutureWarning)  # Lightning uses it itself
