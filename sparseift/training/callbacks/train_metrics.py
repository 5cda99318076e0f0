"""Logs the loss and the metrics of training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from ...tasks import Task
from .monitor import log


class TrainMetrics(pl.Callback):
    """Logs train/loss every `log_every_n_steps` optimizer steps, and the means of an epoch at its end.

    Lightning would log them after all callbacks, so a run that is killed or stopped after `Checkpoint` has saved a step
    would lose its row: the resumed run does not repeat that step. Place this callback before `Checkpoint`.

    Args:
        task: Names the metrics.
    """

    def __init__(self, task: Task):
        self.of_epoch = tuple(f"train/{name}" for name in ("loss_epoch", *(metric.name for metric in task.metrics)))
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from outside
        if stepped and every and self._step % every == 0:
            self._log(trainer, "train/loss")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(trainer, *self.of_epoch)

    def _log(self, trainer: pl.Trainer, *names: str) -> None:
        metrics = trainer.callback_metrics  # on all ranks, because means are reduced
        values = {name: float(metrics[name]) for name in names}
        log(trainer, {**values, "epoch": trainer.current_epoch}, trainer.global_step)
