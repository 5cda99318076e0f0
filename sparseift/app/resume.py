"""What a run goes on from, and what must be the same before and after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..common import slurm
from ..errors import UserError
from ..runs.read import flat
from .folder import CONFIG

LASTING = ("model", "member", "sparsity", "sparsifier", "callbacks")
"""Groups whose every setting a resumed run shares with the one before it, like those of its recipe but `epochs`."""


def identity_of(config: DictConfig) -> dict[str, Any]:
    """What a run is, in words: the names that were chosen and the numbers that make two runs comparable."""
    choices = HydraConfig.get().runtime.choices
    masked = config.sparsifier._target_ is not None
    return {
        "model": config.model.get("name", choices.model),
        "member": choices.member,
        "sparsity": config.sparsity.level if masked or choices.member != "dense" else 0.0,
        "distribution": choices.sparsity if masked else None,
        "sparsifier": choices.sparsifier,
        "dataset": choices.dataset,
        "seed": config.seed,
    }


def settings_of(config: DictConfig) -> dict[str, Any]:
    """Its identity and every setting of the LASTING groups, by dotted name."""
    return {**identity_of(config), **_lasting(config)}


def _lasting(config: DictConfig) -> dict[str, Any]:
    groups = {group: OmegaConf.to_container(config[group], resolve=True) for group in LASTING}
    recipe = OmegaConf.to_container(config.recipe)  # as written: what follows from the number of epochs may change
    recipe.pop("epochs")
    return flat({**groups, "recipe": recipe})


def source_of(config: DictConfig, folder: Path) -> str | None:
    """`resume` as the command line says it; a run that SLURM has started again goes on in its own folder. Raises
    UserError where it is no path."""
    if config.resume is not None and not isinstance(config.resume, str):
        raise UserError(f"resume is {config.resume}; 'auto' is meant, or the path of a checkpoint or run folder")
    if not slurm.restarted():
        return config.resume
    from ..training.checkpoints import has_checkpoint

    return "auto" if config.resume is None or has_checkpoint(folder) else config.resume


def already_finished(config: DictConfig, folder: Path) -> bool:
    """Whether `resume` means the run of `folder` and its results are there, of as many epochs as are asked for.
    Raises UserError where they are of another run."""
    path = folder / "results.json"
    if not path.exists() or not _means(config.resume, folder):
        return False
    results = json.loads(path.read_text())
    saved, wanted = {key: results.get(key) for key in identity_of(config)}, identity_of(config)
    if (noted := folder / CONFIG).exists():
        saved, wanted = saved | _lasting(OmegaConf.load(noted)), settings_of(config)
    _must_agree(saved, wanted, path)
    return results["epochs"] >= config.recipe.epochs


def checkpoint_of(config: DictConfig, folder: Path) -> Path | None:
    """The checkpoint to go on from, if any. Raises UserError where there is none or it is of another run."""
    if config.resume is None:
        return None
    from ..training.checkpoints import find_checkpoint, has_checkpoint, settings_in

    auto = config.resume == "auto"
    if auto and not has_checkpoint(folder):
        return None
    path = find_checkpoint(folder if auto else Path(config.resume))
    _must_agree(flat(settings_in(path)), settings_of(config), path)
    return path


def _means(resume: str | None, folder: Path) -> bool:
    return resume is not None and (resume == "auto" or Path(resume).resolve().is_relative_to(folder.resolve()))


def _must_agree(saved: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    for key in [*wanted, *sorted(saved.keys() - wanted.keys())]:
        if saved.get(key) != wanted.get(key):
            raise UserError(
                f"resume: {path} is of a run with {key}={saved.get(key)}, this one has {key}={wanted.get(key)}"
            )
