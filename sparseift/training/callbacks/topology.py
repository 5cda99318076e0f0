"""Logs how the masks change during training."""

from __future__ import annotations

from collections import deque
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
        self._begun = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.mask_callback and not self._begun and (total := self._observe(trainer, self.mask_callback)):
            del total["replaced"]
            log(trainer, {f"masks/{name}": value for name, value in total.items()}, steps=0)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        mask_callback, step = self.mask_callback, trainer.global_step
        if not mask_callback or not self._observed_at < mask_callback.updated_at == step:
            return
        self._observed_at = step
        if measured := self._observe(trainer, mask_callback):
            total = {"drop_fraction": mask_callback.drop_fraction, **measured}
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
        self._begun = bool(self.history.first)
        self._layers = state["layers"]

    def _observe(self, trainer: pl.Trainer, mask_callback: MaskCallback) -> dict[str, float] | None:
        """The measures of all layers together, on rank 0. The other ranks give it their parts of the masks, if any."""
        self._begun, masks = True, mask_callback.masks
        if not trainer.is_global_zero:
            deque((masks[name] for name in masks), maxlen=0)
            return None
        total, self._layers = self.history.observe(masks)
        return total
