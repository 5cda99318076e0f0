"""Ends a run that has diverged."""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from ...errors import UserError
from ...masks.sharded import anywhere, local


class Divergence(pl.Callback):
    """Raises `UserError` at the end of an epoch if a weight is NaN, before the epoch is saved."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        weights = list(pl_module.parameters())
        lost = [local(weight).isnan().any() for weight in weights]
        if lost and anywhere(weights[0], torch.stack(lost).any()):
            raise UserError(
                f"training has diverged: some weights are NaN after epoch {trainer.current_epoch + 1}; "
                "try a lower recipe.optimizer.lr, or trainer.gradient_clip_val=1"
            )
