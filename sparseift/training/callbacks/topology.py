"""How the masks of a run change: logged at every update, and layer by layer at the end of epochs."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from ...masks.history import MaskHistory
from .masks import MaskCallback, ObservesMasks
from .monitor import log


class Topology(ObservesMasks):
    """Logs `history.HISTORY_MEASURES` and the drop fraction.

    masks/MEASURE, of the whole network, is logged at the start and at every update; layers/LAYER/MEASURE at the end of
    every epoch with an update. It reads the masks at these steps only, and on rank 0 only, which writes the
    checkpoints: all ranks have the same masks.
    """

    def __init__(self) -> None:
        self.history = MaskHistory()
        self._layers: dict[str, dict[str, float]] = {}  # not logged yet
        self._observed_at = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.mover and trainer.is_global_zero and not self.history.first:
            total = self._observe(self.mover)
            del total["replaced"]
            log(trainer, {f"masks/{name}": value for name, value in total.items()}, steps=0)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        mover = self.mover
        if not mover or not trainer.is_global_zero or not self._observed_at < mover.updated_at == trainer.global_step:
            return
        self._observed_at = mover.updated_at
        total = {"drop_fraction": mover.drop_fraction, **self._observe(mover)}
        log(trainer, {f"masks/{name}": value for name, value in total.items()}, trainer.global_step)

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

    def _observe(self, mover: MaskCallback) -> dict[str, float]:
        total, self._layers = self.history.observe(mover.masks)
        return total
