"""Finds the checkpoint that a run resumes from, and compares its settings with those of the run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..common import slurm
from ..common.checks import require
from ..common.messages import one_line
from ..errors import Damaged, UserError
from ..runs.files import present
from ..runs.read import flat, read_config
from ..runs.results import read_results
from ..runs.upgrade import upgraded
from .contents import has_checkpoint
from .names import renamed
from .settings import Settings, lasting_of

AUTO = "auto"


def continues(settings: Settings, folder: Path) -> bool:
    """Whether a run continues one in its own folder, as every run does that SLURM has requeued.

    Raises:
        UserError: It is also told to replace that run.
    """
    if slurm.restarts():
        return True
    own = _names(settings.resume, folder)
    require(not (own and settings.overwrite), "overwrite", True, f"false with resume={settings.resume}")
    return own


def after_requeue(settings: Settings, folder: Path) -> Settings:
    """Return the settings of a run that SLURM may have requeued: it resumes from its own checkpoint, if it has one."""
    if slurm.restarts() and (settings.resume is None or has_checkpoint(folder)):
        return replace(settings, resume=AUTO)
    return settings


def already_finished(settings: Settings, folder: Path) -> bool:
    """Whether the run resumes from `folder`, and this folder has the results of all its epochs.

    If the files that say so are damaged, and there is a checkpoint, the run is not finished: it resumes from the
    checkpoint and writes them again.

    Raises:
        UserError: The results are of a run with other settings.
        Damaged: The files are damaged, and there is no checkpoint.
    """
    path = folder / "results.json"
    if not present(path) or not _names(settings.resume, folder):
        return False
    try:
        results = read_results(path)
        saved, wanted = {key: results[key] for key in settings.identity}, settings.identity
        if (noted := _lasting_in(folder)) is not None:
            wanted = settings.lasting
            saved |= upgraded(noted, like=wanted)
    except Damaged as error:
        if not has_checkpoint(folder):
            raise
        warnings.warn(f"{error}; the run resumes from its checkpoint to write it again", stacklevel=2)
        return False
    _require_equal(saved, wanted, path)
    return results["epochs"] >= settings.epochs


def _lasting_in(folder: Path) -> dict[str, Any] | None:
    """The settings in the config of a run folder; None if it has no config."""
    config = read_config(folder)
    try:
        return None if config is None else lasting_of(OmegaConf.create(config))
    except Exception as error:  # of OmegaConf, or of missing entries
        raise Damaged(f"{folder / '.hydra/config.yaml'} is damaged: {one_line(error)}") from error


def checkpoint_of(settings: Settings, folder: Path) -> Path | None:
    """Return the checkpoint to resume from, if any.

    Raises:
        UserError: There is no checkpoint, or it is of a run with other settings.
    """
    if settings.resume is None:
        return None
    from ..training.checkpoints import BEST, find_checkpoint, problem, settings_in

    auto = settings.resume == AUTO
    if auto and not has_checkpoint(folder):
        return None
    path = find_checkpoint(folder if auto else Path(settings.resume))
    best = path.with_name(BEST)
    if settings.test_with == "best" and best.exists() and (reason := problem(best)):
        raise UserError(f"{reason}; resume with checkpoint.test=last to test the last weights instead")
    _require_equal(upgraded(flat(settings_in(path)), like=settings.lasting), settings.lasting, path)
    return path


def _names(resume: str | None, folder: Path) -> bool:
    return resume is not None and (resume == AUTO or Path(resume).resolve().is_relative_to(folder.resolve()))


def _require_equal(saved: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    saved = renamed(saved, like=wanted)
    for key in [*wanted, *sorted(saved.keys() - wanted.keys())]:
        if saved.get(key) != wanted.get(key):
            raise UserError(f"resume: {path} has {key}={saved.get(key)}; this run has {key}={wanted.get(key)}")
