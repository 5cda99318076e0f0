"""Checkpoints: last.ckpt, the one before it, and best.ckpt, each written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ...common import slurm
from ..checkpoints.files import BEST, LAST, SETTINGS
from ..loggers.metrics_csv import MetricsCsv
from .masks import ObservesMasks


class Checkpoint(ObservesMasks):
    """Saves last.ckpt every n optimizer steps and at the end of every epoch, and best.ckpt when the validation
    accuracy is higher than ever (without a validation set there is none; nor while the masks are denser than planned).
    In a task of SLURM also before the last step of an epoch, so that one that is killed in validation loses that alone.

    settings: kept in every checkpoint, for a run that goes on from it to compare with its own.
    """

    def __init__(self, folder: Path, every_n_steps: int | None, settings: dict[str, Any]):
        self.folder = folder
        self.every_n_steps = every_n_steps
        self.settings = settings
        self.best = -1.0
        self._step = 0
        self._saved = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Never between the micro-batches of a step: gradients are not in a checkpoint. The end of an epoch saves by
        # itself, after validation: in between, Lightning's counters are half moved on.
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        due = self.every_n_steps and self._step % self.every_n_steps == 0
        # SLURM kills a job that it takes the node from and that does not leave soon: a validation may last too long.
        due = due or (slurm.in_task() and _validates_after_next_step(trainer, batch_idx))
        if stepped and due and not trainer.is_last_batch:
            self.save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = trainer.callback_metrics.get("val/acc1")
        if accuracy is not None and float(accuracy) > self.best and self._as_sparse_as_planned():
            self.best = float(accuracy)
            self._save(trainer, BEST)
        self.save_last(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[SETTINGS] = self.settings

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.continue_from(checkpoint["global_step"])

    def save_last(self, trainer: pl.Trainer) -> None:
        """Between two optimizer steps, or at the end of an epoch; once after each step."""
        if self._saved != trainer.global_step:
            self._saved = trainer.global_step
            self._save(trainer, LAST)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / name)

    def _as_sparse_as_planned(self) -> bool:
        """Not while a sparsifier still prunes: the best network is to cost what the finished one costs."""
        return self.mover is None or self.mover.as_sparse_as_planned


def _validates_after_next_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    last = batch_idx + 1 + trainer.accumulate_grad_batches >= trainer.num_training_batches
    return last and trainer.enable_validation
