"""The cost of a run: samples, training FLOPs and seconds, over all ranks and across resumes."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from ...sparsity import Plan
from ...sparsity.plan import training_flops
from ...tasks import Task
from .masks import MaskCallback
from .monitor import log


class Accounting(pl.Callback):
    """Counts the samples of every step, and charges each the FLOPs of the network with the masks of that step.

    A sample costs more in a step whose update reads dense gradients (see `training_flops`). A sample from which the
    first masks are computed costs the FLOPs of the network without masks.

    Args:
        task: Counts the samples of a batch.
        mover: The callback that updates the masks, if there are any.
    """

    def __init__(self, plan: Plan, task: Task, mover: MaskCallback | None):
        self.plan = plan
        self.task = task
        self.mover = mover
        self.spent: dict[str, Any] = {"samples": 0, "flops": 0, "dense_gradients": 0, "seconds": 0.0}
        self._since = 0.0
        self._logged_at = 0
        self._counts: dict[str, int] = {}
        self._now = plan

    @property
    def train_flops(self) -> int:
        return self.spent["flops"]

    @property
    def dense_gradient_flops(self) -> int:
        """The part of `train_flops` that the gradients of masked weights cost."""
        return self.spent["dense_gradients"]

    @property
    def seconds(self) -> float:
        return self.spent["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        self._logged_at = trainer.global_step
        if self.mover:
            stored = self.plan.forward_stored
            self.spent["flops"] += training_flops(stored, stored, self.mover.probed)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        samples = self.task.samples(batch) * trainer.world_size  # all ranks have batches of the same size
        if self.mover and self.mover.masks.active != self._counts:  # most steps leave the counts as they are
            self._counts = dict(self.mover.masks.active)
            self._now = self.mover.masks.counted(self.plan)
        forward, stored = self._now.forward, self._now.forward_stored
        with_dense_gradients = samples if self.mover and self.mover.reads_dense_gradients else 0
        self.spent["samples"] += samples
        self.spent["flops"] += training_flops(forward, stored, samples, with_dense_gradients)
        self.spent["dense_gradients"] += training_flops(forward, stored, 0, with_dense_gradients)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it from outside
        if every and trainer.global_step % every == 0:
            self._log(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._log(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(trainer)
        self._tick()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()

    def state_dict(self) -> dict[str, Any]:
        self._tick()
        return dict(self.spent)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.spent |= state

    def _log(self, trainer: pl.Trainer) -> None:
        """Log once a step, before the metrics of that step."""
        if self._logged_at != trainer.global_step:
            self._logged_at = trainer.global_step
            log(trainer, {"train/flops": float(self.train_flops)}, trainer.global_step)

    def _tick(self) -> None:
        now = time.monotonic()
        self.spent["seconds"] += now - self._since
        self._since = now
