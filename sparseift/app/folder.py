"""The life of a run folder: its lock, .hydra, which describes the run, and error.txt, the reason of a failure."""

from __future__ import annotations

import shutil
import sys
import traceback
from contextlib import ExitStack
from types import TracebackType

from ..common.files import replacing
from ..common.locks import Timeout, locked
from ..common.slurm import first_process, of_one_start
from ..errors import Noted, UserError
from .launchers import LOCK
from .messages import EXPECTED, described
from .settings import Job

NOTES = ".hydra"
STALE = ("results.json", "error.txt", "model.pt2")
PATIENCE = 10.0
"""Seconds to wait for the lock: processes of a killed run, such as data workers, may still hold it."""

MADE_BY_HYDRA = {"train.log"}


class RunFolder:
    """The folder of a run, as the context in which the run is trained.

    A run that fails before `begin` leaves an existing folder unchanged, and removes a folder that Hydra made for it. A
    failed job of a sweep keeps its folder. The first rank that fails writes the error to error.txt. A later success
    deletes that file.
    """

    def __init__(self, job: Job):
        self.job = job
        self.path = job.folder
        self._begun = of_one_start()  # rank 0 waits for this process
        self._lock = ExitStack()

    def begin(self, resumed: bool) -> None:
        """Lock the folder and describe the run in it. A run that does not resume deletes the files of an earlier run.

        Raises:
            UserError: Another process trains in the folder.
        """
        if not first_process():
            self._begun = True
            return
        try:
            self._lock.enter_context(locked(self.path / LOCK, PATIENCE))
        except Timeout as error:
            raise UserError(f"another process trains in {self.path}; wait until it ends") from error
        self._begun = True
        for name in STALE:
            (self.path / name).unlink(missing_ok=True)
        if not resumed:
            (self.path / "metrics.csv").unlink(missing_ok=True)
            shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
            for checkpoint in (self.path / "checkpoints").glob("*.ckpt"):
                checkpoint.unlink()
        self._describe()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._lock.close()
        if error is None:
            (self.path / "error.txt").unlink(missing_ok=True)
        elif isinstance(error, Exception) and (self._begun or self.job.of_sweep):
            if not isinstance(error, Noted):
                self._write_error(error)
        elif first_process() and {item.name for item in self.path.iterdir()} <= MADE_BY_HYDRA:
            for name in MADE_BY_HYDRA:
                (self.path / name).unlink(missing_ok=True)
            if not self.path.samefile("."):  # the working directory of a shell stays
                self.path.rmdir()

    def tell(self, reason: str) -> None:
        """Print the reason why the run ends and write it to error.txt, if the run ends without an exception."""
        print(f"sparseift: {reason}", file=sys.stderr, flush=True)
        self._write_error(UserError(reason))

    def _describe(self) -> None:
        (self.path / NOTES).mkdir(exist_ok=True)
        for name, text in self.job.notes.items():
            with replacing(self.path / NOTES / name) as partial:
                partial.write_text(text, encoding="utf-8")

    def _write_error(self, error: Exception) -> None:
        if not self._begun and first_process():
            (self.path / "error.txt").unlink(missing_ok=True)
            if not (self.path / NOTES).exists():
                self._describe()
        elif (self.path / "results.json").exists():
            return  # rank 0 has not begun either
        text = described(error) if isinstance(error, EXPECTED) else "".join(traceback.format_exception(error))
        try:
            with (self.path / "error.txt").open("x") as file:
                file.write(text.rstrip() + "\n")
        except OSError:
            pass  # another process was first, or the disk is full
