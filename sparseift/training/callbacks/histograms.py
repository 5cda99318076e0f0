"""Histograms of weights and gradients, on request."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from ...common.globs import matching
from .masks import mask_callback
from .monitor import at_least_one, tensorboard_of, warn_if_never


class Histograms(pl.Callback):
    """Writes weights/LAYER and gradients/LAYER to TensorBoard in every n-th optimizer step, as they are right before
    it: gradients are those of the whole batch, over all ranks. Of masked layers only active weights count.

    layers: globs of the names of layers that have a weight of two dimensions or more.
    """

    def __init__(self, layers: list[str], every_n_steps: int) -> None:
        self.layers = layers
        self.every_n_steps = at_least_one(every_n_steps, "callbacks.histograms.every_n_steps")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        tensorboard_of(trainer, "callbacks=histograms")
        weights = {
            name: module.weight
            for name, module in pl_module.net.named_modules()
            if isinstance(getattr(module, "weight", None), torch.nn.Parameter) and module.weight.dim() > 1
        }
        self._weights = {name: weights[name] for name in matching(self.layers, weights, "callbacks.histograms.layers")}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        warn_if_never(trainer, self.every_n_steps, "callbacks.histograms.every_n_steps")

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step + 1
        if step % self.every_n_steps or not trainer.is_global_zero:
            return
        mover, board = mask_callback(trainer), tensorboard_of(trainer, "callbacks=histograms")
        for name, weight in self._weights.items():
            chosen = mover.masks[name] if mover and name in mover.masks.weights else slice(None)
            board.add_histogram(f"weights/{name}", weight.detach()[chosen].float(), step - 1)
            if weight.grad is not None:
                board.add_histogram(f"gradients/{name}", weight.grad[chosen].float(), step - 1)
