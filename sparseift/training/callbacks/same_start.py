"""Checks that all ranks start alike."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from ...errors import UserError


class SameStart(pl.Callback):
    """Checks that all ranks resume from the same checkpoint, or all from none.

    Only rank 0 locks the run folder. Ranks that SLURM or torchrun has started look for a checkpoint at the same time,
    which may be before an earlier process of the run has saved its last one.

    Args:
        checkpoint: The checkpoint that this rank resumes from, if any.
    """

    def __init__(self, checkpoint: Path | None):
        self.found = checkpoint.name if checkpoint else None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit" or trainer.world_size == 1:
            return
        same = self.found == trainer.strategy.broadcast(self.found)
        if not trainer.strategy.reduce_boolean_decision(same, all=True):
            raise UserError("the ranks have found different checkpoints while another process saved one; start again")
