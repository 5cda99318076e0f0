"""The progress of a run: a progress bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import RichProgressBarTheme
from pytorch_lightning.utilities import rank_zero_only
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn

from ...masks import Masks
from ...runs.metric import Metric
from ...sparsity import Plan
from ...tasks import Task
from .accounting import Accounting

SECONDS = 0.5
"""Seconds between updates of the metrics on the bar. Reading metrics synchronizes with the device."""

BAR_WIDTH = 5
"""Columns of the bar itself, so that a line with its metrics fits in 100 columns."""


class Bar(RichProgressBar):
    """Shows the loss, the first validation metric, the density of the masked layers, and the speed of training.

    Args:
        masked: Has the density.
        task: Names the metric, what the speed counts, and how many of them a sample has.
        accounting: Counts the samples.
    """

    def __init__(self, masked: Masks | Plan, task: Task, accounting: Accounting):
        super().__init__(theme=RichProgressBarTheme(metrics_format=".4g"))
        self.masked = masked
        self.accounting = accounting
        self.unit, self.per_sample = task.parts_of_sample
        self.left_out = {f"val/{metric.name}" for metric in task.metrics[1:]}
        self._shown: dict[str, Any] = {}
        self._until = 0.0
        self._since: tuple[float, int] | None = None

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        text = TextColumn("[progress.description]{task.description}")
        return [text, BarColumn(BAR_WIDTH), MofNCompleteColumn(), TimeRemainingColumn(compact=True)]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._count_from_one(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        begins = self.train_progress_bar_id is None  # a run that resumes within an epoch
        super().on_train_batch_end(trainer, *args)
        if begins:
            self._count_from_one(trainer)

    def _count_from_one(self, trainer: pl.Trainer) -> None:
        """Name the epoch as `Lines` and a report do. Lightning counts epochs from 0."""
        if self.progress is not None and self.train_progress_bar_id is not None:
            of = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
            self.progress.update(self.train_progress_bar_id, description=f"epoch {trainer.current_epoch + 1}{of}")

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        now = time.monotonic()
        if now >= self._until or not trainer.training:
            metrics = super().get_metrics(trainer, pl_module)
            metrics.pop("v_num", None)
            shown = {name.removeprefix("train/"): value for name, value in metrics.items() if name not in self.left_out}
            self._shown = {**shown, "density": f"{self.masked.density:.3g}", **self._speed(trainer, now)}
            self._until = now + SECONDS
        return self._shown

    def _speed(self, trainer: pl.Trainer, now: float) -> dict[str, str]:
        """The speed since the last call; none during validation, and right after it."""
        samples = self.accounting.spent["samples"]
        before, self._since = self._since, (now, samples) if trainer.training else None
        if before is None or self._since is None or samples == before[1]:
            return {}
        return {f"{self.unit}/s": f"{(samples - before[1]) * self.per_sample / (now - before[0]):,.0f}"}


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


def progress(masked: Masks | Plan, task: Task, accounting: Accounting) -> pl.Callback:
    """Return a callback that shows losses, metrics and the density of `masked` on standard output."""
    if sys.stdout.isatty():
        return Bar(masked, task, accounting)
    return Lines(masked, task.metrics[0])


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
