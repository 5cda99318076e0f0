"""Pictures of masks, on request."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor

from ...common.checks import integer
from ...common.globs import matching
from .masks import ObservesMasks
from .monitor import tensorboard_of


class MaskPictures(ObservesMasks):
    """Writes masks/LAYER as a picture to TensorBoard, at the start and after every n-th epoch.

    A row of pixels is an output, a column an input and position of the kernel; active weights are white.

    Args:
        layers: Globs of the names of masked layers.
        every_n_epochs: Epochs between pictures.
        side: Pixels per side at most. In a picture of a larger mask, a pixel shows the density of several weights.
    """

    def __init__(self, layers: list[str], every_n_epochs: int, side: int) -> None:
        self.layers = layers
        self.every_n_epochs = integer("callbacks.mask_pictures.every_n_epochs", every_n_epochs, 1)
        self.side = integer("callbacks.mask_pictures.side", side, 1)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        board = tensorboard_of(trainer, "callbacks=mask_pictures")
        if not self.mover:  # a dense run among sparse ones
            return
        masks = self.mover.masks
        names = matching("callbacks.mask_pictures.layers", self.layers, masks)
        if not trainer.is_global_zero:
            return
        for name in names:
            picture = picture_of(masks[name], self.side)
            board.add_image(f"masks/{name}", picture, max(0, trainer.global_step - 1), dataformats="HW")


def picture_of(mask: Tensor, side: int) -> Tensor:
    """Return grey levels from 0 to 1, of shape (min(out, side), min(inputs, side)).

    Args:
        mask: Boolean, of shape (out, ...).
        side: Pixels per side at most.
    """
    levels = mask.flatten(1).float()
    rows, columns = (min(length, side) for length in levels.shape)
    return torch.nn.functional.adaptive_avg_pool2d(levels[None], (rows, columns))[0]
