"""Pictures of masks."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor

from ...common.checks import integer
from ...common.globs import matching
from .masks import ObservesMasks
from .monitor import tensorboard_of


class MaskPictures(ObservesMasks):
    """Writes a picture of each mask to TensorBoard as masks/LAYER, at the start and after every n-th epoch.

    Rows of pixels are outputs. Columns are pairs of input and kernel position. Active weights are white.

    Args:
        layers: Globs of names of masked layers.
        every_n_epochs: Epochs between pictures.
        side: Maximum width and height in pixels. A pixel of a downscaled mask shows the density of several weights.
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
        if not self.mask_callback:  # a dense run among sparse ones
            return
        masks = self.mask_callback.masks
        names = matching("callbacks.mask_pictures.layers", self.layers, masks)
        if not trainer.is_global_zero:
            return
        for name in names:
            picture = picture_of(masks[name], self.side)
            board.add_image(f"masks/{name}", picture, max(0, trainer.global_step - 1), dataformats="HW")


def picture_of(mask: Tensor, side: int) -> Tensor:
    """Return the mask, of shape (out, ...), as grey levels in [0, 1], of shape (min(out, side), min(inputs, side))."""
    levels = mask.flatten(1).float()
    rows, columns = (min(length, side) for length in levels.shape)
    return torch.nn.functional.adaptive_avg_pool2d(levels[None], (rows, columns))[0]
