"""What a person sees while a run trains: a bar on a terminal, a line an epoch in a log file."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.utilities import rank_zero_only

from ...masks.masks import Masks
from ...sparsity import Plan

SECONDS = 0.5
"""For so long the bar shows the metrics of one step of training: reading them waits for the device."""


class Bar(RichProgressBar):
    """Loss, validation accuracy, and the density of the masked layers as it is then."""

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
    """One line an epoch, for output that goes to a file."""

    def __init__(self, masked: Masks | Plan):
        self.masked = masked

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        shown = [
            f"{name} {float(metrics[name]):.4f}" for name in ("train/loss", "val/loss", "val/acc1") if name in metrics
        ]
        head = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} step {trainer.global_step}"
        print(", ".join([head, *shown, f"density {self.masked.density:.4f}"]), flush=True)


def progress(masked: Masks | Plan) -> pl.Callback:
    """The display that suits standard output. masked: what has the density to show."""
    return Bar(masked) if sys.stdout.isatty() else Lines(masked)


def quiet() -> None:
    """Lightning tells what it found and what it defaults to; none of this is anything a user can change."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # data sets in memory are faster without
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # on every log-in node, also where it is meant
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # epochs are logged in any case
    warnings.filterwarnings("ignore", ".*across ranks is zero.*")  # no validation images, as asked for
    warnings.filterwarnings("ignore", ".*LeafSpec.*deprecated.*")  # torch to Lightning, about Lightning's own code
