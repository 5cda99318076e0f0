"""Finds the checkpoint that a run resumes from, and compares its settings with those of the run."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ..common import slurm
from ..common.checks import require
from ..common.messages import one_line
from ..errors import Damaged, UserError
from ..runs.files import present
from ..runs.read import read_config
from ..runs.results import read_results
from . import resolvers  # noqa: F401  # recorded configs call them
from .contents import has_checkpoint
from .lasting import EPOCHS, lasting_of, require_same
from .settings import Settings

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


def already_finished(config: DictConfig, settings: Settings, folder: Path) -> bool:
    """Whether the run resumes from `folder`, and this folder has the results of all its epochs.

    A run that ended before its last epoch, such as by early stopping, is finished for any number of epochs. If the
    files that say so are damaged, and there is a checkpoint, the run is not finished: it resumes from the checkpoint
    and writes them again.

    Raises:
        UserError: The results are of a run with other settings or of more epochs.
        Damaged: The files are damaged, and there is no checkpoint.
    """
    path = folder / "results.json"
    if not present(path) or not _names(settings.resume, folder):
        return False
    try:
        results, noted = read_results(path), noted_config(folder)
    except Damaged as error:
        if not has_checkpoint(folder):
            raise
        warnings.warn(f"{error}; the run resumes from its checkpoint to write it again", stacklevel=2)
        return False
    require_same({key: results[key] for key in settings.identity}, noted, config, settings.identity, path)
    epochs = noted.recipe.epochs if noted else results["epochs"]
    early = results["epochs"] < epochs or results["steps"] < (results.get("planned_steps") or 0)
    return early or epochs == settings.epochs


def checkpoint_of(config: DictConfig, settings: Settings, folder: Path) -> Path | None:
    """Return the checkpoint to resume from, if any.

    Raises:
        UserError: There is no checkpoint, or it is of a run with other settings or more epochs.
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
    saved = settings_in(path)
    noted = None if EPOCHS in saved else noted_config(path.parent.parent)  # earlier versions did not save all settings
    require_same(saved, noted, config, settings.identity, path)
    return path


def _names(resume: str | None, folder: Path) -> bool:
    return resume is not None and (resume == AUTO or Path(resume).resolve().is_relative_to(folder.resolve()))


def noted_config(folder: Path) -> DictConfig | None:
    """Return the config that a run folder records, if any."""
    config = read_config(folder)
    if config is None:
        return None
    try:
        noted = OmegaConf.create(config)
        lasting_of(noted)  # its interpolations can be resolved
    except Exception as error:  # of OmegaConf, or of missing entries
        raise Damaged(f"{folder / '.hydra/config.yaml'} is damaged: {one_line(error)}") from error
    return noted
