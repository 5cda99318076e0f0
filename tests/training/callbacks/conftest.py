"""A fit of a network of one layer, with callbacks of the test."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sparseift.tasks import Classification
from sparseift.training.module import TrainingModule

SGD = partial(torch.optim.SGD, lr=0.1)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """12 images in batches of 5, 5 and 2, for 2 epochs."""

    def run(
        *callbacks: pl.Callback,
        net: nn.Module | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = SGD,
        **options: object,
    ) -> pl.Trainer:
        torch.manual_seed(0)
        images = TensorDataset(torch.randn(12, 1, 2, 2), torch.arange(12) % 3)
        module = TrainingModule(
            net or nn.Sequential(nn.Flatten(), nn.Linear(4, 3)),
            Classification(3, 1, 2, label_smoothing=0.0),
            optimizer=optimizer,
            scheduler=None,
            scheduler_interval="epoch",
            decay_norm_and_bias=True,
        )
        settings = {"max_epochs": 2, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
        settings |= {"enable_model_summary": False, "default_root_dir": tmp_path, "log_every_n_steps": 1}
        trainer = pl.Trainer(**settings | options, callbacks=list(callbacks), num_sanity_val_steps=0)
        trainer.fit(module, DataLoader(images, 5), DataLoader(images, 5))
        return trainer

    return run
