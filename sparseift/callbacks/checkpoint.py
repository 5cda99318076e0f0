"""Checkpoints: last.ckpt, the one before it, and best.ckpt, each written whole or not at all."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from .. import slurm
from ..errors import UserError
from ..files import replacing
from ..meta import first_line
from ..packing import packed, unpacked
from ..sparsifiers.callback import mask_callback
from .metrics_csv import MetricsCsv

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
SETTINGS = "settings"
ALMOST_NOTHING = 2**20
"""Bytes that may still be free where torch.save fails for want of space, which its error does not say."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a kill or a full disk leaves the old file as it was. The last
    checkpoint but one stays as previous.ckpt. In the file, masked tensors are packed (see `packing`)."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            try:
                with partial.open("wb") as file:
                    torch.save(packed(checkpoint), file)
                    file.flush()
                    os.fsync(file.fileno())
            except (OSError, RuntimeError) as error:  # torch makes a RuntimeError of a full disk
                full = shutil.disk_usage(target.parent).free < ALMOST_NOTHING
                reason = "no space is left on the disk" if full else first_line(error)
                raise UserError(f"{target} can't be written: {reason}; the one before it is whole") from error
            if target.name == LAST and target.exists():
                os.replace(target, target.with_name(PREVIOUS))

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        return unpacked(super().load_checkpoint(path, *arguments, **options))


class Checkpoint(pl.Callback):
    """Saves last.ckpt every n optimizer steps and at the end of every epoch, and best.ckpt when the validation
    accuracy is higher than ever (without a validation set there is none; nor while the masks are denser than planned).
    In a task of SLURM also before the last step of an epoch, so that one that is killed in validation loses that alone.

    settings: kept in every checkpoint, for a run that goes on from it to compare with its own.
    """

    def __init__(self, folder: Path, every_n_steps: int | None, settings: dict[str, Any]):
        self.folder = folder
        self.every_n_steps = every_n_steps
        self.settings = settings
        self.best = -1.0
        self._step = 0
        self._saved = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Never between the micro-batches of a step: gradients are not in a checkpoint. The end of an epoch saves by
        # itself, after validation: in between, Lightning's counters are half moved on.
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        due = self.every_n_steps and self._step % self.every_n_steps == 0
        # SLURM kills a job that it takes the node from and that does not leave soon: a validation may last too long.
        due = due or (slurm.in_task() and _validates_after_next_step(trainer, batch_idx))
        if stepped and due and not trainer.is_last_batch:
            self.save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = trainer.callback_metrics.get("val/acc1")
        if accuracy is not None and float(accuracy) > self.best and _as_sparse_as_planned(trainer):
            self.best = float(accuracy)
            self._save(trainer, BEST)
        self.save_last(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[SETTINGS] = self.settings

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.continue_from(checkpoint["global_step"])

    def save_last(self, trainer: pl.Trainer) -> None:
        """Between two optimizer steps, or at the end of an epoch; once after each step."""
        if self._saved != trainer.global_step:
            self._saved = trainer.global_step
            self._save(trainer, LAST)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.folder / name)


def _validates_after_next_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    last = batch_idx + 1 + trainer.accumulate_grad_batches >= trainer.num_training_batches
    return last and trainer.enable_validation


def _as_sparse_as_planned(trainer: pl.Trainer) -> bool:
    """Not while a sparsifier that prunes step by step is on its way: the best is to cost what the run will cost."""
    mover = mask_callback(trainer)
    return mover is None or mover.masks.active == mover.masks.planned


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` means: itself, or the newest whole one in the run folder `path`.

    A damaged last.ckpt gives way to previous.ckpt, with a warning. Raises UserError where there is nothing to go on
    from.
    """
    folder = next((f for f in (path / "checkpoints", path) if _saved_in(f)), None)
    if path.is_file() and _whole(path):
        return path
    candidates = [path, path.with_name(PREVIOUS)] if path.is_file() else []
    if folder:
        candidates = [folder / LAST, folder / PREVIOUS]
    if not candidates:
        raise UserError(f"no checkpoint at {path}; give a .ckpt file or a run folder that holds checkpoints/{LAST}")
    for candidate in candidates:
        if candidate.exists() and _whole(candidate):
            if candidate != candidates[0]:
                warnings.warn(f"{candidates[0]} is damaged; going on from {candidate}", stacklevel=2)
            return candidate
    raise UserError(f"{candidates[0]} is damaged, and there is no whole checkpoint beside it")


def has_checkpoint(folder: Path) -> bool:
    """Whether the run of `folder` has come to its first checkpoint. best.ckpt is none to go on from."""
    return _saved_in(folder / "checkpoints")


def settings_in(path: Path) -> dict[str, Any]:
    """What `Checkpoint` was given as `settings` when it wrote the checkpoint `path`."""
    return _load_shapes(path).get(SETTINGS, {})


def _saved_in(folder: Path) -> bool:
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def _load_shapes(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="meta", weights_only=True, mmap=True)


def _whole(path: Path) -> bool:
    try:
        _load_shapes(path)
    except Exception:
        return False
    return True
