"""Keeps averages of weights, and whatever else other callbacks put into the network, inside the masks."""

from __future__ import annotations

import warnings

import pytorch_lightning as pl

from .masks import ObservesMasks


class Remask(ObservesMasks):
    """Sets masked weights that other callbacks have changed to zero before the network is evaluated, with a warning.

    The average of weights whose masks change is denser than every mask. Lightning's `WeightAveraging` and
    `StochasticWeightAveraging` put it into the network for validation and at the end; `EMA` masks its average itself.

    Place it after all callbacks that change weights.
    """

    def __init__(self) -> None:
        self._told = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remask(trainer)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remask(trainer)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remask(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remask(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remask(trainer)

    def _remask(self, trainer: pl.Trainer) -> None:
        if not self.mask_callback:
            return
        masks = self.mask_callback.masks
        masks.to_weights()  # Lightning moves the network after training
        if not (wrong := masks.nonzero_outside()):
            return
        masks.apply()
        if not self._told and trainer.is_global_zero:
            self._told = True
            layers = f"{wrong[0]} and {len(wrong) - 1} more layers" if len(wrong) > 1 else wrong[0]
            warnings.warn(
                f"a callback, such as an average of weights, changed masked weights of {layers}; they are set to zero "
                "before the network is evaluated",
                stacklevel=2,
            )
