"""The masks of a run, moved and applied by Lightning's hooks."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from ..errors import UserError
from ..masks import Masks
from .base import Sparsifier


class MaskCallback(pl.Callback):
    """Masks gradients in every step, and lets the sparsifier move the masks in the steps where one is due.

    It acts where Lightning has the gradients final: summed over micro-batches, averaged over ranks, unscaled, not yet
    clipped. So every rank sees the same growth scores and moves its masks alike. A step whose gradients are not
    finite moves nothing.
    """

    def __init__(self, masks: Masks, sparsifier: Sparsifier, seed: int):
        self.masks = masks
        self.sparsifier = sparsifier
        self.seed = seed
        self._total = 0
        self._news: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.masks.to_weights()
        self._total = int(trainer.estimated_stepping_batches)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        step = trainer.global_step + 1
        if self.sparsifier.due(step, self._total):
            moved = self.sparsifier.update(self.masks, trainer.optimizers, step, self._total, self.seed)
            self._news = {
                "masks/drop_fraction": self.sparsifier.fraction(step, self._total),
                "masks/replaced": moved / sum(self.masks.active.values()),
            }
        self.masks.mask_gradients()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self._news:
            for logger in trainer.loggers:
                logger.log_metrics(self._news, step=trainer.global_step - 1)
            self._news = {}

    def state_dict(self) -> dict[str, Any]:
        return {"masks": self.masks.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.masks.load_state_dict(state["masks"])

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.state_key not in checkpoint.get("callbacks", {}):
            raise UserError(
                "the checkpoint has no masks: it is not of a sparse run, and a sparse run can't go on from it"
            )
