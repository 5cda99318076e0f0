"""An exponential moving average of the weights, which takes their place whenever the network is judged or kept."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging

from ...masks.inplace import silence
from ...masks.masks import Masks
from .masks import mask_callback


class EMA(EMAWeightAveraging):
    """average <- decay * average + (1 - decay) * weights after every optimizer step; statistics of norms likewise.

    Validation sees the average, and at the end of the fit it becomes the network. Where masks move, the average of a
    dropped weight goes to zero at once, so the average has the masks of the network, and costs what it costs. Training
    itself is as without: masks move by the weights and gradients of the network, not of the average.
    """

    def __init__(self, decay: float):
        super().__init__(decay=decay)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning made the average before it moved the network to its device. The count of averaged steps stays
        behind: torch reads it in every step."""
        self._average_model.module.to(pl_module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *args)
        if mover := mask_callback(trainer):
            self._apply(mover.masks)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The network is the average, also after resuming a fit that had nothing left to do. From here on a checkpoint
        is loaded as it is."""
        self._copy_average_to_current(pl_module)
        self._average_model = None

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._average_model is not None:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _apply(self, masks: Masks) -> None:
        average = self._average_model.module.net
        for name in masks:
            silence(average.get_submodule(name).weight, masks[name])
