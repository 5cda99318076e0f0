"""The end of a run that is told to leave: after the step in hand, with a checkpoint, and back in the queue."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from ...common import slurm
from ...errors import LEAVE, Stopped, UserError
from .checkpoint import Checkpoint

SAME_SIGNAL = 1.0
"""Seconds in which one Ctrl-C may come more than once: from the terminal and from parents."""


class Preemption(pl.Callback):
    """Saves and raises `Stopped` at the next step boundary after Ctrl-C or a signal of LEAVE, on all ranks after the
    same step.

    In a task of SLURM the job goes back into the queue first, by submitit if it started the job, which counts its
    time-outs. A second Ctrl-C does not wait for the step.

    how: what goes on with the run, said to whoever stopped it.
    """

    def __init__(self, checkpoint: Checkpoint, how: str):
        self.checkpoint = checkpoint
        self.how = how
        self.received = 0
        self._since = 0.0
        self._step = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning has its own handlers by now, which would end the run without a checkpoint."""
        self._step = trainer.global_step
        heeded = [number for number in (*LEAVE, signal.SIGINT) if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heeded}

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if stepped and not trainer.is_last_batch and (number := self._told(trainer)):
            self.checkpoint.save_last(trainer)
            self._leave(trainer, number)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After an epoch, which has been saved, and logged since."""
        if number := self._told(trainer):
            self._leave(trainer, number)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if number := self._told(trainer):
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
        name, how = signal.Signals(number).name, self.how
        if slurm.in_task():
            self._requeue(number, trainer.is_global_zero)
            how = "it goes on if its job starts again"
        if trainer.is_global_zero:
            when = f"after step {trainer.global_step} and saved" if trainer.global_step else "before the first step"
            print(f"sparseift: stopped by {name} {when}; {how}", file=sys.stderr)
        # Lightning kills rank 0 if one that it started ends with an error.
        raise Stopped(0 if trainer.local_rank else 128 + number)

    def _told(self, trainer: pl.Trainer) -> int:
        """The signal that any rank has received, or 0; the same on all of them."""
        if trainer.world_size == 1:
            return self.received
        received = torch.tensor(self.received, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(received, reduce_op="max"))

    def _requeue(self, number: int, first: bool) -> None:
        if "submitit" in sys.modules and number == signal.SIGUSR2:
            try:
                with suppress(SystemExit):  # its end of the process, where ours is better
                    self._before[number](number, None)
            except Exception as error:
                raise UserError(f"{error} Going back is limited by hydra.launcher.max_num_timeout") from error
        elif first:
            slurm.requeue()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
