"""Histograms of weights and gradients."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ...common.checks import integer
from ...common.globs import matching
from ...masks import Masks
from .masks import ObservesMasks
from .monitor import tensorboard_of, warn_if_never


class Histograms(ObservesMasks):
    """Writes histograms of active weights and their gradients to TensorBoard: weights/LAYER and gradients/LAYER.

    Gradients are those before the optimizer step, averaged over ranks and micro-batches.

    Args:
        layers: Globs of layer names, of layers that have a weight of two or more dimensions.
        every_n_steps: Optimizer steps between histograms.
    """

    def __init__(self, layers: list[str], every_n_steps: int) -> None:
        self.layers = layers
        self.every_n_steps = integer("callbacks.histograms.every_n_steps", every_n_steps, 1)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        tensorboard_of(trainer, "callbacks=histograms")
        weights = {
            name: module.weight
            for name, module in pl_module.get_submodule("net").named_modules()
            if isinstance(getattr(module, "weight", None), torch.nn.Parameter) and module.weight.dim() > 1
        }
        chosen = matching("callbacks.histograms.layers", self.layers, weights)
        self._weights = {name: weights[name] for name in chosen}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        warn_if_never(trainer, self.every_n_steps, "callbacks.histograms.every_n_steps")

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        step = trainer.global_step + 1
        if step % self.every_n_steps or not trainer.is_global_zero:
            return
        board = tensorboard_of(trainer, "callbacks=histograms")
        masks: Masks | dict[str, Tensor] = self.mask_callback.masks if self.mask_callback else {}
        for name, weight in self._weights.items():
            chosen = masks[name] if name in masks else slice(None)
            board.add_histogram(f"weights/{name}", weight.detach()[chosen].float(), step - 1)
            if weight.grad is not None:
                board.add_histogram(f"gradients/{name}", weight.grad[chosen].float(), step - 1)
