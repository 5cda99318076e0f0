"""What a run notes in its folder besides results: .hydra, which says what it is, and error.txt, why it failed."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .cli import EXPECTED, one_line
from .errors import UserError

SWEEP_JOB = "SPARSEIFT_SWEEP_JOB"
"""Set in the environment of a process that runs a single job of a sweep."""

STALE = ("results.json", "error.txt", "model.pt2")
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

    def begin(self, resumed: bool) -> None:
        """From here on the run writes. A run that starts anew takes away what an earlier one left."""
        self._begun = True
        if not _first_process():
            return
        for name in STALE:
            (self.path / name).unlink(missing_ok=True)
        if not resumed:
            for checkpoint in (self.path / "checkpoints").glob("*.ckpt"):
                checkpoint.unlink()
        self._note_config()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            (self.path / "error.txt").unlink(missing_ok=True)
        elif isinstance(error, Exception) and (self._begun or in_sweep()):
            self._note_error(error)
        elif _first_process() and {item.name for item in self.path.iterdir()} <= MADE_BY_HYDRA:
            shutil.rmtree(self.path)

    def tell(self, reason: str) -> None:
        """Say why the run ends, here and in error.txt, where no exception can."""
        print(f"sparseift: {reason}", file=sys.stderr, flush=True)
        self._note_error(UserError(reason))

    def _note_config(self) -> None:
        notes = self.path / ".hydra"
        notes.mkdir(exist_ok=True)
        OmegaConf.save(self.config, notes / "config.yaml")
        OmegaConf.save({"hydra": HydraConfig.get()}, notes / "hydra.yaml")
        OmegaConf.save(HydraConfig.get().overrides.task, notes / "overrides.yaml")

    def _note_error(self, error: Exception) -> None:
        if not self._begun and _first_process():
            (self.path / "error.txt").unlink(missing_ok=True)
            if not (self.path / ".hydra").exists():
                self._note_config()
        text = one_line(error) if isinstance(error, EXPECTED) else "".join(traceback.format_exception(error))
        try:
            with (self.path / "error.txt").open("x") as file:
                file.write(text.rstrip() + "\n")
        except FileExistsError:
            pass  # another process was first


def _first_process() -> bool:
    """Whether this is the one process of its run, or the one that started the others."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"))
