"""Upgrades results and settings of older versions to the current version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from .schema import VERSION

GROUPS = ("task", "pattern", "backend")
"""Groups of the config that version 1 did not have."""

BUDGET = "sparsity.budget"
"""A key that settings lack if the budget of their run counts the FLOPs of layers alone."""

DROP_FRACTION, GROWN_STATE = ".drop_fraction", ".grown_state"
"""Ends of keys of a sparsifier that grows weights. Settings lack the second one if grown weights started with the state
of new parameters."""

SGD = "torch.optim.SGD"
"""An optimizer for which `GROWN_STATE` has no effect."""

OLD_PATTERN = "sparsifier."
"""The prefix of the keys of `pattern` in version 1."""


@cache
def _version_1() -> dict[str, Any]:
    return json.loads(files("sparseift.runs").joinpath("version_1.json").read_text(encoding="utf-8"))


def upgraded_results(results: dict[str, Any]) -> dict[str, Any]:
    """Upgrade the content of results.json from version 1. Other versions are returned unchanged."""
    if "version" in results:
        return results
    old = _version_1()
    return {**old["results"], "metrics": old["metrics"], **_split(results), "version": VERSION}


def upgraded(settings: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Add the budget and the state of grown weights, and to settings of version 1 the groups that it did not have.

    Args:
        settings: A flat config, or the settings of a checkpoint, which also contain the names of the choices.
        like: Settings of the current version. The added groups take their keys and values from there. By default, they
            have the unresolved values of `conf`.
    """
    if any(_group(key) == "sparsity" for key in settings):
        settings = {BUDGET: "layers", **settings}
    settings = {**_grown_states(settings, like), **settings}
    if any(_group(key) in GROUPS for key in settings):
        return dict(settings)
    old = _version_1()
    moved = {_moved(key): value for key, value in _split(settings).items()}
    own_pattern = any(key.startswith("pattern.") for key in moved)
    added = {
        key: value
        for key, value in (old["config"] if like is None else like).items()
        if "." in key and _group(key) in GROUPS and not (own_pattern and _group(key) == "pattern")
    }
    if "sparsifier" in settings:
        added |= {name: old["results"][name] for name in GROUPS if like is None or name in like}
    return added | moved


def _grown_states(settings: Mapping[str, Any], like: Mapping[str, Any] | None) -> dict[str, Any]:
    """The states of grown weights in settings without them: "new", or for SGD the present ones."""
    keys = [key.removesuffix(DROP_FRACTION) + GROWN_STATE for key in settings if key.endswith(DROP_FRACTION)]
    keys = [key for key in keys if _group(key) == "sparsifier" and (like is None or key in like)]
    without_effect = settings.get("recipe.optimizer._target_") == SGD
    return {key: (like or {}).get(key, "matched") if without_effect else "new" for key in keys}


def _group(key: str) -> str:
    return key.partition(".")[0]


def _moved(key: str) -> str:
    return key.removeprefix(OLD_PATTERN) if key.startswith(f"{OLD_PATTERN}pattern.") else key


def _split(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Split the name of a sparsifier that included a pattern into sparsifier and pattern."""
    name = choices.get("sparsifier")
    return {**choices, **(_version_1()["sparsifiers"].get(name, {}) if isinstance(name, str) else {})}
