"""What a run notes in its folder besides results: .hydra, which says what it is, and error.txt, why it failed."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..common.files import replacing
from ..common.slurm import first_process
from ..errors import Noted, UserError
from .messages import EXPECTED, one_line

SWEEP_JOB = "SPARSEIFT_SWEEP_JOB"
"""Set in the environment of a process that runs a single job of a sweep."""

CONFIG = ".hydra/config.yaml"
STALE = ("results.json", "error.txt", "model.pt2")
PATIENCE = 10.0
"""Seconds in which what a killed process leaves running, such as workers of its data set, ends too."""
MADE_BY_HYDRA = {"train.log"}


def in_sweep() -> bool:
    return HydraConfig.get().mode is RunMode.MULTIRUN or SWEEP_JOB in os.environ


class RunFolder:
    """The folder of a run, as a context of its work. Hydra itself would write into it before it is known whether the
    run may begin: so a run that can't start leaves the folder as it was, or, if Hydra made it for this run, none.

    What ends the work is noted in error.txt by the first process that it ends, and taken away by a later success.
    Failed jobs of a sweep keep their folder.
    """

    def __init__(self, config: DictConfig):
        self.config = config
        self.path = Path(HydraConfig.get().runtime.output_dir)
        self._begun = False
        self._lock: int | None = None

    def begin(self, resumed: bool) -> None:
        """From here on the run writes. A run that starts anew takes away what an earlier one left. Raises UserError
        where another process trains in the folder."""
        if not first_process():
            self._begun = True
            return
        self._hold()
        self._begun = True
        for name in STALE:
            (self.path / name).unlink(missing_ok=True)
        if not resumed:
            (self.path / "metrics.csv").unlink(missing_ok=True)
            shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
            for checkpoint in (self.path / "checkpoints").glob("*.ckpt"):
                checkpoint.unlink()
        self._note_config()

    def _hold(self) -> None:
        self._lock = os.open(self.path, os.O_RDONLY)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise UserError(f"another process trains in {self.path}: wait for it") from error
                time.sleep(0.1)
            except OSError:
                return  # some file systems have no locks

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
        if error is None:
            (self.path / "error.txt").unlink(missing_ok=True)
        elif isinstance(error, Exception) and (self._begun or in_sweep()):
            if not isinstance(error, Noted):
                self._note_error(error)
        elif first_process() and {item.name for item in self.path.iterdir()} <= MADE_BY_HYDRA:
            for name in MADE_BY_HYDRA:
                (self.path / name).unlink(missing_ok=True)
            if not self.path.samefile("."):  # a shell may be in it
                self.path.rmdir()

    def tell(self, reason: str) -> None:
        """Say why the run ends, here and in error.txt, where no exception can."""
        print(f"sparseift: {reason}", file=sys.stderr, flush=True)
        self._note_error(UserError(reason))

    def _note_config(self) -> None:
        notes = self.path / ".hydra"
        notes.mkdir(exist_ok=True)
        hydra = HydraConfig.get()
        contents = {"config": self.config, "hydra": {"hydra": hydra}, "overrides": hydra.overrides.task}
        for name, content in contents.items():
            with replacing(notes / f"{name}.yaml") as partial:
                OmegaConf.save(content, partial)

    def _note_error(self, error: Exception) -> None:
        if not self._begun and first_process():
            (self.path / "error.txt").unlink(missing_ok=True)
            if not (self.path / ".hydra").exists():
                self._note_config()
        text = one_line(error) if isinstance(error, EXPECTED) else "".join(traceback.format_exception(error))
        try:
            with (self.path / "error.txt").open("x") as file:
                file.write(text.rstrip() + "\n")
        except OSError:
            pass  # another process was first, or there is no space for it
