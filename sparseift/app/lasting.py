"""The settings that must not change when a run resumes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ..errors import UserError
from ..runs.read import flat
from ..runs.settings import WITHOUT_EFFECT, within
from ..runs.upgrade import upgraded
from .names import renamed

EPOCHS, BATCH = "recipe.epochs", "dataset.batch_size"
DEVICES = ("trainer.devices", "trainer.num_nodes")
KEPT = (EPOCHS, *DEVICES)
"""Settings that may change, but not at will (see `require_same`)."""

MAY_CHANGE = (
    *WITHOUT_EFFECT,
    EPOCHS,  # but not decrease
    *(*DEVICES, "trainer.strategy"),  # with dataset.batch_size, so that batches over all devices stay the same
    "backend",  # which computes the same network: results differ by rounding
    *("resume", "overwrite", "export", "sweep", "logger"),
)
"""Options and nodes of the config that may change when a run resumes. All others are compared, so a new option is."""

OLD_GROUPS = ("model", "member", "sparsity", "pattern", "sparsifier", "backend", "task", "callbacks", "recipe")
"""Groups that checkpoints of earlier versions record, without EPOCHS and with unresolved values of the recipe."""


def lasting_of(config: DictConfig, epochs: int | None = None) -> dict[str, Any]:
    """Return the settings that must not change, by dotted key, and EPOCHS, BATCH and DEVICES.

    Args:
        epochs: The number of epochs to compute dependent settings from, such as milestones; by default that of the
            config.
    """
    config = config.copy()
    if epochs is not None:
        with open_dict(config):
            config.recipe.epochs = epochs
    settings = flat(OmegaConf.to_container(config, resolve=True))
    return {key: value for key, value in settings.items() if key in KEPT or not within(key, MAY_CHANGE)}


def require_same(
    saved: Mapping[str, Any], noted: DictConfig | None, config: DictConfig, identity: Mapping[str, Any], path: Path
) -> None:
    """Check that a run has the settings of the run that it resumes.

    Args:
        saved: The settings in a checkpoint, or the identity in results.json.
        noted: The config in the folder of the saved run, if any. It supplements settings that `saved` lacks.
        config: The config of this run.
        identity: The identity of this run.
        path: The file with `saved`, for messages.

    Raises:
        UserError: A setting differs, or there are fewer epochs.
    """
    saved, wanted = _comparable(saved, noted, config, identity)
    saved = renamed(saved, like=wanted)
    before, now = _samples_per_batch(saved), _samples_per_batch(wanted)
    for key in [*wanted, *sorted(saved.keys() - wanted.keys())]:
        if key == BATCH and any(saved.get(name) != wanted.get(name) for name in DEVICES):
            if None not in (before, now) and before != now:  # otherwise compared when the devices are known
                raise UserError(f"resume: {path} has {before} samples per batch over all devices; this run has {now}")
        elif not _agree(key, saved, wanted):
            raise UserError(f"resume: {path} has {key}={saved.get(key)}; this run has {key}={wanted.get(key)}")


def _comparable(
    saved: Mapping[str, Any], noted: DictConfig | None, config: DictConfig, identity: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """All settings of the saved run that are known, and those of this run to compare with them."""
    in_folder = lasting_of(noted) if noted else {}
    wanted = {**identity, **lasting_of(config, saved.get(EPOCHS, in_folder.get(EPOCHS)))}
    if EPOCHS not in saved:
        old = any("." in key for key in saved)  # a checkpoint of an earlier version
        groups = OLD_GROUPS if old else ()
        if old:
            wanted |= flat({"recipe": OmegaConf.to_container(config.recipe)})
            saved = upgraded(flat(saved), like=wanted)
        if noted:
            in_folder = upgraded(in_folder, like=wanted)
            rest = {key: value for key, value in in_folder.items() if key == EPOCHS or not within(key, groups)}
            saved = {**rest, **saved}
        else:
            wanted = {key: value for key, value in wanted.items() if key in saved or within(key, groups)}
    return saved, {**wanted, EPOCHS: config.recipe.epochs}


def _agree(key: str, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    before, now = saved.get(key), wanted.get(key)
    if key == EPOCHS:
        return before is None or before <= now
    if within(key, MAY_CHANGE):
        return True
    return before == now or all(value is None or value == {} for value in (before, now))  # an empty node is no node


def _samples_per_batch(settings: Mapping[str, Any]) -> int | None:
    """Samples per batch over all devices; None if the number of devices is not known."""
    factors = [settings.get(key) for key in (BATCH, *DEVICES)]
    numbers: list[Any] = [len(factor) if isinstance(factor, list) else factor for factor in factors]
    return prod(numbers) if all(isinstance(number, int) and number > 0 for number in numbers) else None
