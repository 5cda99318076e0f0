"""Callbacks of a user's, chosen with +callbacks.NAME._target_=toy_callbacks.CLASS."""

import pytorch_lightning as pl
import torch


class Noise(pl.Callback):
    """Adds noise to all weights when the test has ended."""

    def on_test_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        with torch.no_grad():
            for weight in module.parameters():
                weight.add_(1e-3)
