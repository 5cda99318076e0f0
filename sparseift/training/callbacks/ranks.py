"""Ends a run on several devices when one of its processes ends."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable

import pytorch_lightning as pl

from ...common.messages import one_line
from ...common.signals import name_of
from ...errors import Stopped, UserError

GRACE = 10.0
"""Seconds to wait for a collective to fail after a rank has ended. NCCL itself may wait much longer."""

LOST = re.compile(r"gloo|NCCL|connection (closed|reset|refused)", re.IGNORECASE)


class RankWatch(pl.Callback):
    """Ends this process when another rank of the run has ended.

    Rank 0 watches the ranks that it started, and they watch rank 0. SLURM and torchrun end the other ranks themselves.

    Args:
        tell: Function to call with the reason when the watching thread ends the process.
    """

    def __init__(self, tell: Callable[[str], None]):
        self.tell = tell
        self._children: list[subprocess.Popen[bytes]] = []
        self._parent: int | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        launched = getattr(trainer.strategy.launcher, "procs", None)
        if stage != "fit" or launched is None:
            return
        if launched:
            self._children = list(launched)
            launched.clear()  # otherwise Lightning would kill this process without a message
        elif trainer.local_rank and os.environ.get("TORCHELASTIC_RUN_ID") is None and "SLURM_STEP_ID" not in os.environ:
            self._parent = os.getppid()
        else:
            return
        threading.Thread(target=self._watch, daemon=True).start()

    def explained(self, error: Exception) -> BaseException:
        """Return the exception to raise: one that names the lost rank, or `error` itself if no rank is lost."""
        if not LOST.search(str(error)):
            return error
        deadline = time.monotonic() + GRACE / 2
        while not (reason := self._gone()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if self._parent and not reason:
            return Stopped(1)  # rank 0 reports the reason
        return UserError(reason or f"another rank has ended; see its output: {one_line(error, whole=False)}")

    def _gone(self) -> str | None:
        for rank, child in enumerate(self._children, start=1):
            code = child.poll()
            if code:
                how = f"was killed by {name_of(-code)}" if code < 0 else f"ended with exit code {code}"
                return f"rank {rank} {how}, and the run with it"
        if self._parent not in (None, os.getppid()):
            return "rank 0 has ended, and the run with it"
        return None

    def _watch(self) -> None:
        while not (reason := self._gone()):
            time.sleep(0.5)
        time.sleep(GRACE)
        self.tell(reason)
        for child in self._children:
            child.kill()
        os._exit(1)
