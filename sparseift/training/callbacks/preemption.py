"""Stops a run after a signal: saves a checkpoint, and requeues the job in SLURM."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from ...common import slurm
from ...common.messages import one_line, say
from ...common.signals import handle, name_of, restore
from ...errors import Stopped, UserError
from ..agreement import Agreement
from .checkpoint import Checkpoint

SAME_SIGNAL = 1.0
"""Seconds within which one Ctrl-C may arrive more than once: from the terminal and from parent processes."""


class Preemption(pl.Callback):
    """Saves a checkpoint and raises `Stopped` after Ctrl-C or a signal of `common.signals.LEAVE`.

    All ranks stop after the same optimizer step: with several ranks, the one after the step in which a rank has
    received the signal, because the ranks agree while the next step runs. A second Ctrl-C stops at once. In a SLURM
    task, the job is requeued. If submitit started the job, submitit requeues it, because it counts the time-outs.

    Args:
        checkpoint: Callback that saves last.ckpt.
        how_to_resume: Text to print after the run has stopped.
    """

    def __init__(self, checkpoint: Checkpoint, how_to_resume: str):
        self.checkpoint = checkpoint
        self.how_to_resume = how_to_resume
        self.received = 0
        self._since = 0.0
        self._step = 0
        self._agreement = Agreement(ranks=1)
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's signal handlers, which end the run without a checkpoint."""
        self._step = trainer.global_step
        self._agreement = Agreement(trainer.world_size)
        self._previous = handle(self._note)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if stepped and not trainer.is_last_batch and (number := self._agreement.of_last_call(self.received)):
            self.checkpoint.save_last(trainer)
            self._leave(trainer, number)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after the previous epoch, which has been saved and logged by now."""
        if number := self._agreement.now(self.received):
            self._leave(trainer, number)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if number := self._agreement.now(self.received):
            self._leave(trainer, number)
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and self.received and now - self._since > SAME_SIGNAL:
            raise KeyboardInterrupt
        self.received, self._since = self.received or number, self._since or now

    def _leave(self, trainer: pl.Trainer, number: int) -> None:
        how = self.how_to_resume
        if slurm.in_task():
            self._requeue(number, trainer.is_global_zero)
            how = "the run resumes when its job starts again"
        if trainer.is_global_zero:
            when = f"after step {trainer.global_step} and saved" if trainer.global_step else "before the first step"
            say(f"stopped by {name_of(number)} {when}; {how}")
        # Lightning kills rank 0 if a rank that it started ends with an error.
        raise Stopped(0 if trainer.local_rank else 128 + number)

    def _requeue(self, number: int, first: bool) -> None:
        if "submitit" in sys.modules and name_of(number) == "SIGUSR2":
            try:
                with suppress(SystemExit):  # submitit would end the process here
                    self._previous[number](number, None)
            except Exception as error:
                raise UserError(f"{one_line(error)} hydra.launcher.max_num_timeout limits how often") from error
        elif first:
            slurm.requeue()

    def _restore(self) -> None:
        restore(self._previous)
        self._previous = {}
