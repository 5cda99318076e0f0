"""How well connected the masked layers of a run are while it trains."""

from __future__ import annotations

from math import isnan, nan
from statistics import mean
from typing import Any

import pytorch_lightning as pl

from ...common.console import one_by_one
from ...masks.spectral import MEASURES, spectral_gaps
from .masks import mask_callback
from .monitor import at_least_one, log, warn_if_never


class Spectral(pl.Callback):
    """Logs the spectral gaps (`spectral.MEASURES`) of the masked layers after every n-th optimizer step, on rank 0:
    layers/LAYER/GAP, and masks/GAP, the plain mean of the layers in which the gap is defined."""

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = at_least_one(every_n_steps, "callbacks.spectral.every_n_steps")
        self._measured_at = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._measured_at = trainer.global_step  # before this run went on
        if mask_callback(trainer):
            warn_if_never(trainer, self.every_n_steps, "callbacks.spectral.every_n_steps")

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        mover, step = mask_callback(trainer), trainer.global_step
        if not mover or not trainer.is_global_zero or step % self.every_n_steps or step == self._measured_at:
            return
        self._measured_at = step
        weights = one_by_one(mover.masks.weights.items(), "spectral gaps")
        layers = {name: spectral_gaps(mover.masks[name], weight) for name, weight in weights}
        gaps = {f"layers/{layer}/{name}": gap for layer, found in layers.items() for name, gap in found.items()}
        for name in MEASURES:
            defined = [layer[name] for layer in layers.values() if not isnan(layer[name])]
            gaps[f"masks/{name}"] = mean(defined) if defined else nan
        log(trainer, {name: gap for name, gap in gaps.items() if not isnan(gap)}, step)
