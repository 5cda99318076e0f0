"""Resumes the newest sweep with the same overrides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..common.messages import one_line, say
from ..errors import UserError
from ..runs.files import read_yaml

SWEEP_JOB = "SPARSEIFT_SWEEP_JOB"
"""Environment variable of a child process that runs a single job of a sweep."""

RESUME = "sweep.resume=true"
ROOT = Path("multirun")
"""The folder of all sweeps, as in conf/train.yaml."""


def resumed(overrides: Sequence[str], sweep: bool) -> list[str]:
    """Return the overrides. If RESUME is one of them, add the folder of the sweep to resume, and resume=auto."""
    overrides = list(overrides)
    if RESUME not in [override.lower() for override in overrides]:
        return overrides
    if not sweep:
        raise UserError("sweep.resume=true needs the option -m (--multirun); a single run resumes with resume=auto")
    added = ["resume=auto"]
    if not any(override.startswith("hydra.sweep.dir=") for override in overrides):
        wanted = _jobs(overrides)
        earlier = [file.parent for file in ROOT.glob("*/multirun.yaml") if _overrides_in(file) == wanted]
        if earlier:
            added.append(f"hydra.sweep.dir={max(earlier)}")
        else:
            say(f"no sweep in {ROOT}/ has these overrides; a new sweep starts")
    return [*overrides, *added]


def _overrides_in(file: Path) -> list[str]:
    """The overrides of an earlier sweep. One that cannot be read is none to resume."""
    try:
        return _jobs(map(str, read_yaml(file)["hydra"]["overrides"]["task"]))
    except (UserError, KeyError, TypeError) as error:
        say(f"{file} is damaged, so its sweep cannot be resumed: {one_line(error)}")
        return []


def _jobs(overrides: Iterable[str]) -> list[str]:
    """The overrides that determine the jobs of a sweep, not how they are launched."""
    others = ("sweep.", "hydra.", "hydra/", "resume=", "overwrite=")
    return sorted(override for override in overrides if not override.startswith(others))
