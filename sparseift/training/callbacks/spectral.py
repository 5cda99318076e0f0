"""Spectral gaps of the masked layers, on request."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytorch_lightning as pl

from ...common.checks import integer
from ...common.console import one_by_one
from ...masks.spectral_gaps import GAPS, mean_of_defined, spectral_gaps
from .masks import ObservesMasks
from .monitor import log, warn_if_never


class Spectral(ObservesMasks):
    """Logs the spectral gaps of the masked layers (`spectral_gaps.GAPS`) on rank 0.

    layers/LAYER/GAP is the gap of a layer. masks/GAP is the mean over the layers for which the gap is defined.

    Args:
        every_n_steps: Optimizer steps between measurements.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = integer("callbacks.spectral.every_n_steps", every_n_steps, 1)
        self._measured_at = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._measured_at = trainer.global_step  # a resumed run has measured this step before
        if self.mask_callback:
            warn_if_never(trainer, self.every_n_steps, "callbacks.spectral.every_n_steps")

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step
        due = step % self.every_n_steps == 0 and step != self._measured_at
        if not self.mask_callback or not trainer.is_global_zero or not due:
            return
        self._measured_at = step
        masks = self.mask_callback.masks
        weights = one_by_one(masks.weights.items(), "spectral gaps")
        layers = {name: spectral_gaps(masks[name], weight) for name, weight in weights}
        gaps = {f"layers/{layer}/{name}": gap for layer, found in layers.items() for name, gap in found.items()}
        for name in GAPS:
            gaps[f"masks/{name}"] = mean_of_defined(layer[name] for layer in layers.values())
        log(trainer, {name: gap for name, gap in gaps.items() if not isnan(gap)}, step)
