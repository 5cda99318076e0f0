"""Checkpoints: last.ckpt, the one before it, and best.ckpt, each written whole or not at all."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ..errors import UserError
from ..files import replacing
from .metrics_csv import MetricsCsv

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a kill or a full disk leaves the old file as it was. The last
    checkpoint but one stays as previous.ckpt."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if target.name == LAST and target.exists():
                os.replace(target, target.with_name(PREVIOUS))


class Checkpoint(pl.Callback):
    """Saves last.ckpt every n optimizer steps and at the end of every epoch, and best.ckpt when the validation
    accuracy is higher than ever (without a validation set there is none).

    identity: what must agree between a run and the checkpoint that it goes on from.
    """

    def __init__(self, folder: Path, every_n_steps: int | None, identity: dict[str, Any]):
        self.folder = folder
        self.every_n_steps = every_n_steps
        self.identity = identity
        self.best = -1.0
        self._saved_at = -1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The end of an epoch saves by itself, after validation: in between, Lightning's counters are half moved on.
        due = self.every_n_steps and trainer.global_step % self.every_n_steps == 0
        if due and not trainer.is_last_batch and trainer.global_step != self._saved_at:
            self._save(trainer, LAST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = trainer.callback_metrics.get("val/acc1")
        if accuracy is not None and float(accuracy) > self.best:
            self.best = float(accuracy)
            self._save(trainer, BEST)
        self._save(trainer, LAST)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "identity": self.identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        saved = checkpoint.get("callbacks", {}).get(self.state_key, {}).get("identity", {})
        for key, value in self.identity.items():
            if saved.get(key) != value:
                raise UserError(f"the checkpoint is of a run with {key}={saved.get(key)}, this one has {key}={value}")
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.continue_from(checkpoint["global_step"])

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        self._saved_at = trainer.global_step
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / name)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` means: itself, or the newest whole one in the run folder `path`.

    A damaged last.ckpt gives way to previous.ckpt, with a warning. Raises UserError where there is nothing to go on
    from.
    """
    folder = next((f for f in (path / "checkpoints", path) if (f / LAST).exists() or (f / PREVIOUS).exists()), None)
    if path.is_file() and _whole(path):
        return path
    candidates = [path, path.with_name(PREVIOUS)] if path.is_file() else []
    if folder:
        candidates = [folder / LAST, folder / PREVIOUS]
    if not candidates:
        raise UserError(
            f"resume: no checkpoint at {path}; give a .ckpt file or a run folder that holds checkpoints/{LAST}"
        )
    for candidate in candidates:
        if candidate.exists() and _whole(candidate):
            if candidate != candidates[0]:
                warnings.warn(f"{candidates[0]} is damaged; going on from {candidate}", stacklevel=2)
            return candidate
    raise UserError(f"resume: {candidates[0]} is damaged, and there is no whole checkpoint beside it")


def _whole(path: Path) -> bool:
    try:
        torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:
        return False
    return True
