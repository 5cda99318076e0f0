"""Names of what a run consists of, for results.json and run folders: names of choices, unless something else ran."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..common.checks import require
from ..runs.read import flat
from .options import missing, plain
from .overrides import config_folder

NODES = {
    **{name: name for name in ("model", "member", "sparsifier", "pattern", "backend", "task", "dataset")},
    "distribution": "sparsity.distribution",
}
"""The node of the config that makes what a name in results.json stands for. Its first part is the group."""

BY_NAME = tuple(f"sparseift.models.from_{library}" for library in ("timm", "torchvision", "transformers"))
"""Targets with an argument `name` that says which network they build."""

PLAIN = {"pattern": "unstructured", "sparsifier": "none"}
"""Choices that mean that there is nothing of the kind."""


def names_of(config: DictConfig) -> dict[str, str]:
    """Return the names of what the current job of Hydra consists of, by the keys of `NODES`.

    A name is that of the choice in its group, or the name of the network for networks of a library. If the `_target_`
    of the choice was replaced, it is the name of the class or function that ran.
    """
    hydra = HydraConfig.get()
    return {
        name: _name(OmegaConf.select(config, node), node, hydra.runtime.choices, hydra.overrides.task)
        for name, node in NODES.items()
    }


def sparsity_of(config: DictConfig, names: Mapping[str, str]) -> float:
    """Return the sparsity of a run: 0 for the dense network without masks."""
    return 0.0 if (names["member"], names["sparsifier"]) == ("dense", PLAIN["sparsifier"]) else config.sparsity.level


def run_name(config: DictConfig) -> str:
    """Return the name of a run, which is part of the name of its folder."""
    names = names_of(config)
    parts = [names["model"], names["dataset"], names["member"]]
    if sparsity_of(config, names):
        parts += [str(config.sparsity.level), names["sparsifier"]]
    if names["pattern"] != PLAIN["pattern"]:
        parts.append(names["pattern"])
    return re.sub(r"[^\w.+=-]+", "-", "_".join([*parts, f"seed{config.seed}"]))


def renamed(saved: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the names in `like` of what has the same `_target_`: earlier versions named choices only."""
    targets = {name: f"{node}._target_" for name, node in NODES.items()}
    same = {name for name, key in targets.items() if key in saved and saved[key] == like.get(key)}
    return {key: like[key] if key in same and value and like.get(key) else value for key, value in saved.items()}


def _name(node: Any, path: str, choices: Mapping[str, str], overrides: Iterable[str]) -> str:
    group = path.partition(".")[0]
    if group not in choices:
        raise missing(group, "a choice")
    require(OmegaConf.is_dict(node), path, plain(node), "a node with _target_ and arguments")
    target, choice = node.get("_target_"), choices[group]
    declared = _declared(path, choice)
    typed = any(override.lstrip("+").startswith(f"{path}._target_=") for override in overrides)
    if target != declared[0] if declared else typed:
        return str(flat({"_target_": target})["_target_"] or PLAIN["sparsifier"])
    return node.name if target in BY_NAME else choice


@cache
def _declared(path: str, choice: str) -> tuple[str | None, ...]:
    """The `_target_` in the file of a choice of this package, or in the one that it derives from; empty for others."""
    group, _, inside = path.partition(".")
    file = config_folder() / group / f"{choice}.yaml"
    if not file.is_file():
        return ()
    content = OmegaConf.load(file)
    assert isinstance(content, DictConfig)
    for node in (content, content.get(group), content.get(inside)):
        if isinstance(node, DictConfig) and "_target_" in node:
            return (node["_target_"],)
    derived = (entry for entry in content.get("defaults", []) if isinstance(entry, str) and "/" not in entry)
    return next((_declared(path, entry) for entry in derived), ())
