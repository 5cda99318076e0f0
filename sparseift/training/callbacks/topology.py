"""Where the masks of a run have been: logged when they move, and layer by layer at the ends of epochs."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from ...masks.history import MaskHistory
from .masks import MaskCallback, mask_callback
from .monitor import log


class Topology(pl.Callback):
    """Logs `topology.MEASURES` and the drop fraction as masks/MEASURE of the network at the start and at every update,
    and as layers/LAYER/MEASURE at the end of every epoch in which the masks moved.

    It looks at masks when they have moved and at no other step, and on rank 0, which makes the checkpoints: all ranks
    have the same masks.
    """

    def __init__(self) -> None:
        self.history = MaskHistory()
        self._layers: dict[str, dict[str, float]] = {}  # not logged yet
        self._observed_at = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        mover = mask_callback(trainer)
        if mover and trainer.is_global_zero and not self.history.first:
            total = self._observe(mover)
            del total["replaced"]
            log(trainer, {f"masks/{name}": share for name, share in total.items()}, steps=0)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        mover = mask_callback(trainer)
        if not mover or not trainer.is_global_zero or not self._observed_at < mover.updated_at == trainer.global_step:
            return
        self._observed_at = mover.updated_at
        total = {"drop_fraction": mover.drop_fraction, **self._observe(mover)}
        log(trainer, {f"masks/{name}": share for name, share in total.items()}, trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        layers, self._layers = self._layers, {}
        if layers:
            flat = {f"layers/{layer}/{name}": one for layer, shares in layers.items() for name, one in shares.items()}
            log(trainer, flat, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history.state_dict(), "layers": self._layers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history.load_state_dict(state["history"])
        self._layers = state["layers"]

    def _observe(self, mover: MaskCallback) -> dict[str, float]:
        total, self._layers = self.history.observe(mover.masks)
        return total
