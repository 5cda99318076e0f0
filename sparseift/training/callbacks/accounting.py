"""Samples, training FLOPs and seconds of a run, over all ranks and across resumes."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from ...sparsity import Plan, training_flops
from ...tasks import Task
from .masks import MaskCallback
from .monitor import log


class Accounting(pl.Callback):
    """Counts samples, and the training FLOPs of each with the masks of its step (see `training_flops`).

    A sample from which the initial masks are computed costs the FLOPs of the network without masks.

    Args:
        plan: The plan of the network.
        task: Counts the samples of a batch.
        mask_callback: The callback that updates the masks; None if nothing is masked.
    """

    def __init__(self, plan: Plan, task: Task, mask_callback: MaskCallback | None):
        self.plan = plan
        self.task = task
        self.mask_callback = mask_callback
        self.spent: dict[str, Any] = {"samples": 0, "flops": 0, "dense_gradients": 0, "seconds": 0.0}
        self._since = 0.0
        self._logged_at = 0
        self._samples = 0
        self._evaluations = 0
        self._active: dict[str, int] = {}
        self._masked_plan = plan

    @property
    def train_flops(self) -> int:
        return self.spent["flops"]

    @property
    def dense_gradient_flops(self) -> int:
        """The part of `train_flops` that is spent on gradients of masked weights."""
        return self.spent["dense_gradients"]

    @property
    def seconds(self) -> float:
        return self.spent["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        self._logged_at = trainer.global_step
        if self.mask_callback:
            stored = self.plan.forward_stored
            self.spent["flops"] += training_flops(stored, stored, self.mask_callback.probed)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._samples = self.task.samples(batch) * trainer.world_size  # all ranks have batches of the same size
        if self.mask_callback and (active := self.mask_callback.masks.active) != self._active:
            self._active = dict(active)
            self._masked_plan = self.plan.with_active(active)
        self.spent["samples"] += self._samples
        self._evaluations = 0
        self._charge()

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._evaluations += 1
        if self._evaluations > 1:  # L-BFGS evaluates a batch several times
            self._charge()

    def _charge(self) -> None:
        """Count the FLOPs of one forward and backward pass of the batch."""
        forward, stored = self._masked_plan.forward, self._masked_plan.forward_stored
        with_dense_gradients = self._samples if self.mask_callback and self.mask_callback.reads_dense_gradients else 0
        self.spent["flops"] += training_flops(forward, stored, self._samples, with_dense_gradients)
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
