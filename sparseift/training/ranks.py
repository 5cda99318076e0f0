"""Ends or explains a run on several devices when one of its processes ends, and names ranks that do not answer."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl

from ..common import slurm
from ..common.messages import one_line, say
from ..common.signals import name_of, noticed
from ..errors import Stopped, UserError
from ..runs.read import reason_of_failure
from .checkpoints import LAST
from .heartbeat import POLL, Heartbeat

GRACE = 10.0
"""Seconds to wait for a collective to fail after a rank has ended. NCCL itself may wait much longer."""

LOST = re.compile(r"gloo|NCCL|connection (closed|reset|refused)|waiting for clients", re.IGNORECASE)

RANK_0 = "SPARSEIFT_RANK_0"
"""Environment variable with the process ID of rank 0 for the ranks that it starts."""


class RankWatch:
    """Watches the other ranks of a run.

    Rank 0 watches the processes that it started, and they watch rank 0. SLURM and torchrun end the other ranks
    themselves. In SLURM, the job then returns to the queue, unless the lost rank has failed with an error.

    Args:
        folder: The run folder.
        tell: Function to call with the reason when a thread ends the process.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]):
        self.folder = folder
        self.tell = tell
        self._children: list[subprocess.Popen[bytes]] = []
        self._parent: int | None = None
        self._saved_before: float | None = None
        self._heartbeat: Heartbeat | None = None

    @contextmanager
    def watching(self, trainer: pl.Trainer) -> Iterator[None]:
        """Watch until the context ends, and explain an error that follows from the loss of a rank."""
        if trainer.world_size == 1:
            yield
            return
        self._saved_before = self._saved()
        if "LOCAL_RANK" not in os.environ:  # the environment of the ranks that Lightning starts
            os.environ[RANK_0] = str(os.getpid())
        elif trainer.local_rank and RANK_0 in os.environ:
            self._parent = int(os.environ[RANK_0])
        self._heartbeat = Heartbeat(trainer.global_rank, trainer.local_rank, trainer.world_size)
        over = threading.Event()
        with noticed() as signalled, self._heartbeat:
            thread = threading.Thread(target=self._watch, args=(trainer, over, signalled), daemon=True)
            thread.start()
            try:
                yield
            except RuntimeError as error:
                explained = self._explained(error)
                if explained is error:
                    raise
                raise explained from error
            finally:
                over.set()
                thread.join()

    def _explained(self, error: RuntimeError) -> BaseException:
        """Return the exception to raise: one that names the lost rank, or `error` itself if no rank is lost."""
        if not LOST.search(str(error)):
            return error
        deadline = time.monotonic() + GRACE / 2
        while not (reason := self._gone() or self._failed()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if reason is None and self._heartbeat and (silent := self._heartbeat.silent):
            reason = f"{silent} did not answer until the time-out of the run"
            self._kill()  # a stopped process would remain
        if slurm.in_task() and not self._failed() and self._requeued(reason or "another rank has ended"):
            return Stopped(1)
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

    def _failed(self) -> str | None:
        """The error of another rank, which it has written to error.txt. A shared file system may show it late."""
        reason = reason_of_failure(self.folder) if slurm.in_task() else None
        return reason and f"another rank has failed: {reason}"

    def _requeued(self, reason: str) -> bool:
        """Return the job to the queue, and say so. Return whether it starts again."""
        saved = self._saved() not in (None, self._saved_before)
        if not slurm.requeue_after_loss(saved):
            return False
        say(f"{reason}; the run resumes when its job starts again")
        return True

    def _saved(self) -> float | None:
        """When last.ckpt was saved."""
        path = self.folder / "checkpoints" / LAST
        return path.stat().st_mtime if path.exists() else None

    def _watch(self, trainer: pl.Trainer, over: threading.Event, signalled: Callable[[], bool]) -> None:
        """End this process if a rank is lost and the main thread waits for it. Report ranks that do not answer."""
        assert self._heartbeat
        while not over.wait(POLL):
            launched = getattr(trainer.strategy.launcher, "procs", None)
            while launched and isinstance(launched[0], subprocess.Popen):
                # Otherwise Lightning would kill this process without a message.
                self._children.append(child := launched.pop(0))
                self._heartbeat.identify(len(self._children), child.pid, socket.gethostname())
            for report in self._heartbeat.reports():
                say(report)
            if reason := self._gone():
                break
            # SLURM tells the other ranks to leave when one of them is lost, and when the job must leave.
            if slurm.in_task() and signalled() and (lost := self._heartbeat.quiet_for(GRACE)):
                reason = f"{lost} has ended, and the run with it"
                break
        else:
            return
        if over.wait(0 if slurm.in_task() else GRACE):
            return
        if not (slurm.in_task() and not self._failed() and self._requeued(reason)):
            self.tell(reason)
        self._kill()
        os._exit(1)

    def _kill(self) -> None:
        for child in self._children:
            child.kill()
