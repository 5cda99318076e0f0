"""What a run has spent: samples, training FLOPs and seconds, over all ranks and across resumes."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch

from ...masks.masks import Masks
from ...sparsifiers import Sparsifier
from ...sparsity import Plan
from ...sparsity.plan import training_flops
from .masks import ObservesMasks
from .monitor import log


class Accounting(ObservesMasks):
    """Counts samples as they are trained on, at what the network costs with the masks of that step. Samples of a step
    that grows by dense gradients cost more (see training_flops); those that the first masks are computed from cost what
    the network costs with nothing masked."""

    def __init__(self, plan: Plan, sparsifier: Sparsifier, masks: Masks | None):
        self.plan = plan
        self.sparsifier = sparsifier
        self.masks = masks
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
        """The part of them that the gradients of masked weights took."""
        return self.spent["dense_gradients"]

    @property
    def seconds(self) -> float:
        return self.spent["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        self._logged_at = trainer.global_step
        self._total = int(trainer.estimated_stepping_batches)
        stored = self.plan.forward_stored
        if self.mover:
            self.spent["flops"] += training_flops(stored, stored, self.mover.probed)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        samples = _batch_size(batch) * trainer.world_size  # every rank trains on batches of one size
        grows = self.sparsifier.dense_gradient and self.sparsifier.due(trainer.global_step + 1, self._total)
        if self.masks and self.masks.active != self._counts:  # most steps leave the counts as they are
            self._counts = dict(self.masks.active)
            self._now = self.masks.counted(self.plan)
        self.spent["samples"] += samples
        costs, grown_by = (self._now.forward, self._now.forward_stored), samples if grows else 0
        self.spent["flops"] += training_flops(*costs, samples, grown_by)
        self.spent["dense_gradients"] += training_flops(*costs, 0, grown_by)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.log_every_n_steps and trainer.global_step % trainer.log_every_n_steps == 0:
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
        """Once a step, and before the losses and accuracies of that step."""
        if self._logged_at != trainer.global_step:
            self._logged_at = trainer.global_step
            log(trainer, {"train/flops": float(self.train_flops)}, trainer.global_step)

    def _tick(self) -> None:
        now = time.monotonic()
        self.spent["seconds"] += now - self._since
        self._since = now


def _batch_size(batch: Any) -> int:
    return next(len(part) for part in batch if isinstance(part, torch.Tensor))
