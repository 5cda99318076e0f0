"""Finds the checkpoint that a run resumes from, and compares its settings with those of the run."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from omegaconf import DictConfig, OmegaConf

from ..runs.results import read_results
from .lasting import EPOCHS, lasting_of, require_same
from .settings import Settings

AUTO = "auto"


def already_finished(config: DictConfig, settings: Settings, folder: Path) -> bool:
    """Whether the run resumes from `folder`, and this folder has the results of all its epochs.

    A run that ended before its last epoch, such as by early stopping, is finished for any number of epochs.

    Raises:
        UserError: The results are of a run with other settings or of more epochs.
    """
    path = folder / "results.json"
    if not path.exists() or not _names(settings.resume, folder):
        return False
    results, noted = read_results(path), _noted(folder)
    require_same({key: results[key] for key in settings.identity}, noted, config, settings.identity, path)
    epochs = lasting_of(noted)[EPOCHS] if noted else results["epochs"]
    early = results["epochs"] < epochs or results["steps"] < (results.get("planned_steps") or 0)
    return early or epochs == settings.epochs


def checkpoint_of(config: DictConfig, settings: Settings, folder: Path) -> Path | None:
    """Return the checkpoint to resume from, if any.

    Raises:
        UserError: There is no checkpoint, or it is of a run with other settings or more epochs.
    """
    if settings.resume is None:
        return None
    from ..training.checkpoints import find_checkpoint, has_checkpoint, settings_in

    auto = settings.resume == AUTO
    if auto and not has_checkpoint(folder):
        return None
    path = find_checkpoint(folder if auto else Path(settings.resume))
    require_same(settings_in(path), _noted(path.parent.parent), config, settings.identity, path)
    return path


def _names(resume: str | None, folder: Path) -> bool:
    return resume is not None and (resume == AUTO or Path(resume).resolve().is_relative_to(folder.resolve()))


def _noted(folder: Path) -> DictConfig | None:
    """The config that a run folder records, if any."""
    path = folder / ".hydra/config.yaml"
    return cast(DictConfig, OmegaConf.load(path)) if path.exists() else None
