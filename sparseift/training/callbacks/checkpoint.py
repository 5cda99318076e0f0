"""Saves last.ckpt and best.ckpt during training."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ...common import slurm
from ...errors import UserError
from ...runs.metric import Metric
from ..checkpoints.files import BEST, LAST, SETTINGS, STEPS, STOPPED
from ..loggers.metrics_csv import CsvFile
from ..loggers.tensorboard import TensorBoard
from .masks import MaskCallback
from .steps import steps_per_epoch

EVENTS = "tensorboard"
"""The entry of a checkpoint with the sizes of TensorBoard's event files."""


class Checkpoint(pl.callbacks.Checkpoint):
    """Saves last.ckpt every n optimizer steps and after every epoch, and best.ckpt when the validation metric improves.

    best.ckpt needs a validation set, and is not saved while the masks are denser than planned. In a SLURM task,
    last.ckpt is also saved before the last step of an epoch, so that a job killed during validation loses one step.

    Because of the base class, Lightning calls this callback after `EarlyStopping`, whose state a checkpoint holds. A
    run that resumes after an early stop trains no further.

    Args:
        folder: Folder of the checkpoints.
        every_n_steps: Optimizer steps between checkpoints within an epoch; None for one checkpoint per epoch.
        settings: Settings of the run, saved in every checkpoint.
        metric: Metric that selects best.ckpt.
        mask_callback: The callback that updates the masks; None if nothing is masked.
    """

    def __init__(
        self,
        folder: Path,
        every_n_steps: int | None,
        settings: dict[str, Any],
        metric: Metric,
        mask_callback: MaskCallback | None,
    ):
        self.folder = folder
        self.every_n_steps = every_n_steps
        self.settings = settings
        self.metric = metric
        self.mask_callback = mask_callback
        self.best = -inf if metric.higher_is_better else inf
        self._step = 0
        self._saved = -1
        self._steps_before: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        before, now = self._steps_before, steps_per_epoch(trainer)
        if None not in (before, now) and before != now:
            raise UserError(
                f"the run to resume has {before} optimizer steps per epoch, this run has {now}: the data, or the "
                "number of samples per batch over all devices, has changed"
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Do not save between the micro-batches of a step, since a checkpoint has no gradients, nor after the last
        # batch: Lightning's counters are inconsistent until validation is over, and `on_train_epoch_end` saves.
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        due = self.every_n_steps and self._step % self.every_n_steps == 0
        # SLURM kills a job that does not exit soon after a signal, and a validation may take longer.
        due = due or (slurm.in_task() and _validates_after_next_step(trainer, batch_idx))
        if stepped and due and not trainer.is_last_batch:
            self.save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics.get(f"val/{self.metric.name}")
        as_sparse_as_planned = self.mask_callback is None or self.mask_callback.as_sparse_as_planned
        if value is not None and self.metric.is_better(float(value), self.best) and as_sparse_as_planned:
            self.best = float(value)
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
        for logger in trainer.loggers:
            if isinstance(logger, CsvFile):
                checkpoint[logger.file_name] = logger.text
            if isinstance(logger, TensorBoard):
                checkpoint[EVENTS] = logger.sizes()
        checkpoint[STOPPED] = trainer.should_stop
        checkpoint[STEPS] = steps_per_epoch(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Have the loggers cut what was logged after the checkpoint was saved."""
        for logger in trainer.loggers:
            if isinstance(logger, CsvFile):
                logger.continue_from(checkpoint["global_step"], checkpoint.get(logger.file_name))
            if isinstance(logger, TensorBoard) and EVENTS in checkpoint:
                logger.continue_from(checkpoint[EVENTS])
        trainer.should_stop = checkpoint.get(STOPPED, False)
        self._steps_before = checkpoint.get(STEPS)

    def save_last(self, trainer: pl.Trainer) -> None:
        """Save last.ckpt, at most once per step. Call this between two optimizer steps or at the end of an epoch."""
        if self._saved != trainer.global_step:
            self._saved = trainer.global_step
            self._save(trainer, LAST)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / name)


def _validates_after_next_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    last = batch_idx + 1 + trainer.accumulate_grad_batches >= trainer.num_training_batches
    return last and trainer.enable_validation
