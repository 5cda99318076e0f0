"""Logs how the masks change during training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from ...masks.history import MaskHistory
from .masks import MaskCallback, ObservesMasks
from .monitor import log


class Topology(ObservesMasks):
    """Logs `history.HISTORY_MEASURES` and the drop fraction, on rank 0.

    masks/MEASURE, of all layers together, is logged at the start and at every update. layers/LAYER/MEASURE is logged at
    the end of every epoch with an update.
    """

    def __init__(self) -> None:
        self.history = MaskHistory()
        self._layers: dict[str, dict[str, float]] = {}  # not logged yet
        self._observed_at = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.mask_callback and trainer.is_global_zero and not self.history.first:
            total = self._observe(self.mask_callback)
            del total["replaced"]
            log(trainer, {f"masks/{name}": value for name, value in total.items()}, steps=0)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        mask_callback, step = self.mask_callback, trainer.global_step
        if not mask_callback or not trainer.is_global_zero or not self._observed_at < mask_callback.updated_at == step:
            return
        self._observed_at = step
        total = {"drop_fraction": mask_callback.drop_fraction, **self._observe(mask_callback)}
        log(trainer, {f"masks/{name}": value for name, value in total.items()}, step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        layers, self._layers = self._layers, {}
        if layers:
            flat = {f"layers/{layer}/{name}": one for layer, found in layers.items() for name, one in found.items()}
            log(trainer, flat, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history.state_dict(), "layers": self._layers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history.load_state_dict(state["history"])
        self._layers = state["layers"]

    def _observe(self, mask_callback: MaskCallback) -> dict[str, float]:
        total, self._layers = self.history.observe(mask_callback.masks)
        return total
