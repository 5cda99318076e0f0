"""Pictures of masks, on request."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor

from ...common.globs import matching
from .masks import mask_callback
from .monitor import at_least_one, tensorboard_of


class MaskPictures(pl.Callback):
    """Writes masks/LAYER as a picture to TensorBoard, at the start and after every n-th epoch: one row of pixels an
    output, one column an input and position of the kernel, active weights white.

    layers: globs of names of masked layers. side: pixels at most; of larger masks a pixel is the mean of several
    weights, so its grey is their density.
    """

    def __init__(self, layers: list[str], every_n_epochs: int, side: int) -> None:
        self.layers = layers
        self.every_n_epochs = at_least_one(every_n_epochs, "callbacks.mask_pictures.every_n_epochs")
        self.side = at_least_one(side, "callbacks.mask_pictures.side")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        board, mover = tensorboard_of(trainer, "callbacks=mask_pictures"), mask_callback(trainer)
        if not mover:  # the dense network among sparse ones
            return
        names = matching(self.layers, mover.masks, "callbacks.mask_pictures.layers")
        if not trainer.is_global_zero:
            return
        for name in names:
            picture = picture_of(mover.masks[name], self.side)
            board.add_image(f"masks/{name}", picture, max(0, trainer.global_step - 1), dataformats="HW")


def picture_of(mask: Tensor, side: int) -> Tensor:
    """Grey levels from 0 to 1 of a boolean mask (out, ...), (min(out, side), min(inputs, side))."""
    levels = mask.flatten(1).float()
    size = [min(length, side) for length in levels.shape]
    return torch.nn.functional.adaptive_avg_pool2d(levels[None], size)[0]
