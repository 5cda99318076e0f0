"""The life of a run folder: its lock, .hydra, which describes the run, and error.txt, the reason of a failure."""

from __future__ import annotations

import os
import traceback
from contextlib import ExitStack, suppress
from types import TracebackType

from omegaconf import OmegaConf

from ..common.files import replacing
from ..common.locks import Timeout, locked
from ..common.messages import say
from ..common.slurm import first_process, of_one_start
from ..errors import Noted, UserError
from ..runs.read import describes_run
from .contents import (
    ERROR,
    LOCK,
    NOTES,
    OF_THE_END,
    RESULTS,
    has_checkpoint,
    is_failed_start,
    more_than_a_start,
    remove_written,
    written,
)
from .messages import EXPECTED, described
from .settings import Job

PATIENCE = 10.0
"""Seconds to wait for the lock: processes of a killed run, such as data workers, may still hold it."""


class RunFolder:
    """The folder of a run, as the context in which the run is trained.

    Call `claim` before looking for checkpoints or results in the folder, and `begin` before writing into it. The first
    process of a run does this for the others.

    A run that fails before `begin` leaves an existing folder unchanged, and removes a folder that Hydra made for it. A
    failed job of a sweep keeps its folder. The first rank that fails writes the error to error.txt. A later success
    deletes that file.
    """

    def __init__(self, job: Job):
        self.job = job
        self.path = job.folder
        self._begun = of_one_start()  # rank 0 waits for this process
        self._claimed: bool | None = None  # before `claim`
        self._made_lock = False
        self._lock = ExitStack()

    def claim(self, continues: bool, overwrite: bool) -> None:
        """Lock the folder, and check that the run may write into it.

        Args:
            continues: Whether the run continues a run that is in the folder.
            overwrite: Whether the run replaces a run that is in the folder.

        Raises:
            UserError: Another process trains in the folder, or there is something in it that the run must not touch.
        """
        if not first_process():
            return
        self._claimed = False
        fresh = not (self.path / LOCK).exists()
        if fresh:  # no process trains here: look without leaving a file
            self._require_free(continues, overwrite)
        try:
            self._lock.enter_context(locked(self.path / LOCK, PATIENCE))
        except Timeout as error:
            advice = "wait until it ends, or choose another folder"
            raise UserError(f"another process trains in {self.path}; {advice}") from error
        self._made_lock = fresh
        self._require_free(continues, overwrite)
        self._claimed = True

    def release(self) -> None:
        """Unlock the folder for a child process."""
        self._lock.close()

    def begin(self, resumed: bool) -> None:
        """Describe the run in its folder. A run that does not resume removes what an earlier run has written."""
        self._begun = True
        if not first_process():
            return
        (self.path / ERROR).unlink(missing_ok=True)
        if resumed:
            for name in OF_THE_END:
                (self.path / name).unlink(missing_ok=True)
        else:
            remove_written(self.path)
        self._describe()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        with self._lock:
            if error is None:
                (self.path / ERROR).unlink(missing_ok=True)
            elif isinstance(error, Exception) and (self._begun or (self.job.of_sweep and self._can_note())):
                if not isinstance(error, Noted):
                    self._write_error(error)
            elif first_process() and not self._begun:
                self._clear()

    def tell(self, reason: str) -> None:
        """Print the reason why the run ends and write it to error.txt, if the run ends without an exception."""
        say(reason)
        self._write_error(UserError(reason))

    def _require_free(self, continues: bool, overwrite: bool) -> None:
        there = more_than_a_start(self.path)
        if not there or (continues and has_checkpoint(self.path)):  # its settings are compared later
            return
        own = describes_run(self.path)
        if own and (continues or overwrite or is_failed_start(self.path)):
            return
        clashing = [] if own else written(self.path)
        if overwrite and not clashing:
            return
        name = "the folder of the job" if self.job.of_sweep else "hydra.run.dir"
        shown = os.path.relpath(self.path)
        if own:
            resume = "sweep.resume=true" if self.job.of_sweep else "resume=auto"
            raise UserError(
                f"{name} is {shown}, which has a run; expected an empty folder, {resume} to continue that run, or "
                "overwrite=true to replace it"
            )
        found = f"{os.path.relpath(clashing[0], self.path)}, which no run has written there" if clashing else there[0]
        beside = "" if clashing else ", or overwrite=true to write beside other files"
        raise UserError(f"{name} is {shown}, which has {found}; expected an empty folder{beside}")

    def _can_note(self) -> bool:
        """Whether error.txt may say why a job has failed that has not begun."""
        if self._claimed is False or (self.path / RESULTS).exists():
            return False
        if self._claimed or not first_process():
            return True
        if more_than_a_start(self.path) and not describes_run(self.path):
            return False
        with suppress(Timeout), locked(self.path / LOCK, 0):
            return True
        return False

    def _clear(self) -> None:
        """Remove what Hydra and `claim` have made for this start."""
        names = set(os.listdir(self.path)) if self.path.exists() else set()
        if describes_run(self.path) or (LOCK in names and not self._made_lock):
            return  # another process may be using the folder
        if self._made_lock:
            (self.path / LOCK).unlink(missing_ok=True)
        if self.path.exists() and names <= {LOCK} and not self.path.samefile("."):  # a shell's working directory stays
            self.path.rmdir()

    def _describe(self) -> None:
        (self.path / NOTES).mkdir(exist_ok=True)
        for name, content in self.job.notes.items():
            with replacing(self.path / NOTES / name) as partial:
                partial.write_text(OmegaConf.to_yaml(content), encoding="utf-8")

    def _write_error(self, error: Exception) -> None:
        if not self._begun and first_process():
            (self.path / ERROR).unlink(missing_ok=True)
            if not (self.path / NOTES).exists():
                self._describe()
        elif not first_process() and (self.path / RESULTS).exists():
            return  # rank 0 has not begun
        text = described(error) if isinstance(error, EXPECTED) else "".join(traceback.format_exception(error))
        try:
            with (self.path / ERROR).open("x") as file:
                file.write(text.rstrip() + "\n")
        except OSError:
            pass  # another process was first, or the disk is full
