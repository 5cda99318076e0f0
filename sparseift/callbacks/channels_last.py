"""Convolutions over images whose channels lie next to each other in memory."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from ..masks import laid_out_as


class ChannelsLast(pl.Callback):
    """Trains the network in torch's channels_last layout: the same numbers in another order in memory, so results
    differ by rounding alone."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        pl_module.to(memory_format=torch.channels_last)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checkpoints know no layout, and the fused step of an optimizer takes its state for laid out as the weight."""
        for optimizer in trainer.optimizers:
            for parameter, state in optimizer.state.items():
                fitting = {name: value for name, value in state.items() if _fits(value, parameter)}
                state.update((name, laid_out_as(parameter, value)) for name, value in fitting.items())


def _fits(value: Any, parameter: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == parameter.shape
