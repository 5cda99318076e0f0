"""The recipes with strong augmentation in whole runs: resumed to the bit, and refused where nothing augments."""

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from sparseift.app.build import TrainingParts

Build = Callable[..., TrainingParts]
SHORT = ("recipe.warmup_epochs=1", "callbacks.ema.decay=0.5", "checkpoint.every_n_steps=1")


class Stop(pl.Callback):
    def __init__(self, at: int | None):
        self.at = at

    def on_train_batch_start(self, trainer: pl.Trainer, *_) -> None:
        if trainer.global_step == self.at:
            raise KeyboardInterrupt


def fit(run: TrainingParts, at: int | None = None, checkpoint: Path | None = None) -> dict[str, torch.Tensor]:
    run.trainer.callbacks.append(Stop(at))
    run.trainer.fit(run.module, run.data, ckpt_path=checkpoint, weights_only=True)
    return run.net.state_dict()


@pytest.mark.parametrize("recipe", ["deit", "convnext"])
def test_a_resumed_run_ends_with_the_same_bits(build: Build, recipe: str) -> None:
    overrides = (f"recipe={recipe}", *SHORT)
    whole = fit(build(*overrides, folder="whole"))
    first = build(*overrides, folder="parts")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(first, at=7)
    second = build(*overrides, folder="parts")
    resumed = fit(second, checkpoint=Path(second.trainer.default_root_dir) / "checkpoints" / "last.ckpt")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
