"""Callbacks of a user's, chosen with +callbacks.NAME._target_=toy_callbacks.CLASS."""

import os

import pytorch_lightning as pl
import torch


class Noise(pl.Callback):
    """Adds noise to all weights when the test has ended."""

    def on_test_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        with torch.no_grad():
            for weight in module.parameters():
                weight.add_(1e-3)


class Signal(pl.Callback):
    """Sends a signal to its process at the start of a step."""

    def __init__(self, number: int, step: int):
        self.number, self.step = number, step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)
