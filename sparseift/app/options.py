"""Checks that something reads every option of a config, and that no option is missing."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ..common.checks import boolean, require
from ..errors import UserError
from .overrides import choices_of, config_folder
from .sweep import SWEEP_JOB

MADE = ("model", "member", "sparsity.distribution", "pattern", "sparsifier", "backend", "task", "dataset", "trainer")
"""Nodes that name a class or function, with its arguments. The sparsifier of a run without masks names none."""

PARTLY_MADE = ("recipe.optimizer", "recipe.scheduler")
"""Nodes that name a function, with all arguments but the first one. There may be no scheduler."""

HYDRAS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
"""Keys of a node that Hydra reads."""

COLLECTIONS = ("logger", "callbacks")
"""Nodes whose values are nodes that name a class."""

VALUES_ONLY = ("recipe", "sparsity")
"""Groups that name no class. Every choice of the package has all options of its group."""

NEEDED = {"trainer": ("max_epochs", "accelerator", "devices", "num_nodes", "precision", "gradient_clip_val")}
"""Options that the programs read from groups that name a class."""

OWN = {"trainer": ("compile", "matmul_precision", "channels_last", "send_active_gradients")}
"""Options that the program itself reads from nodes that name a class, which does not take them."""

AUGMENTATION = "recipe.augmentation"
"""The option of the recipes that data sets refer to. Training without it would be another recipe."""

OFFERED = ("recipe.warmup_epochs", "recipe.label_smoothing", "recipe.steps", "recipe.dropout", AUGMENTATION)
"""Options of the recipes that other nodes refer to: scheduler, task, trainer, model and data of the package."""


def check_options(config: DictConfig) -> None:
    """Check that every option is read, by a program, a class or an interpolation, and that no option is missing.

    `check_targets` checks the arguments of what the config names.

    Raises:
        UserError: An option is unknown, missing or not used by the other choices.
    """
    raw = OmegaConf.to_container(config)
    assert isinstance(raw, dict)
    references = set(_references(raw))
    if HydraConfig.initialized():
        references.update(_references(OmegaConf.to_container(HydraConfig.get())))
    for path, names in plain_nodes().items():
        node = OmegaConf.select(config, path) if path else config
        require(OmegaConf.is_dict(node), path, node, f"a node with {', '.join(names)}")
        for name in names:
            if name not in node:
                raise missing(join(path, name), "a value" if name not in MADE else "a choice")
        for key in (join(path, str(name)) for name in node if name not in names):
            # A job of a sweep does not get the options of Hydra, which may refer to it. The sweep has checked it.
            if key not in OFFERED and not _is_read(key, references) and SWEEP_JOB not in os.environ:
                raise no_option(
                    key, [*(join(path, name) for name in names), *(o for o in OFFERED if o.startswith(path))]
                )
    for path, names in NEEDED.items():
        for name in names:
            if name not in config[path]:
                raise missing(join(path, name), "a value")
    for path in COLLECTIONS:
        require(OmegaConf.is_dict(config[path]), path, config[path], "a node for each of them")
    for path, node in made_nodes(config):
        _check_made(path, node)
    known = {field.name for field in fields(HydraConf)} | {"env"}  # Hydra's own file adds env to its schema
    for key in typed_keys("hydra"):
        if key.startswith("hydra.") and key.split(".")[1] not in known:
            raise no_option(key, [f"hydra.{name}" for name in known])
    if OmegaConf.select(config, AUGMENTATION) is not None:
        fits = _is_read(AUGMENTATION, references)
        require(fits, AUGMENTATION, plain(config.recipe.augmentation), "null, because dataset does not refer to it")
    for key in typed_keys("task").intersection(OFFERED):
        fits = _is_read(key, references)
        require(fits, key, OmegaConf.select(config, key), "no value, because no other option refers to it")


def plain_nodes() -> dict[str, tuple[str, ...]]:
    """Return the nodes that name no class, "" for the config itself, with the names of all options in each."""
    files = [OmegaConf.load(config_folder() / "train.yaml")]
    if HydraConfig.initialized() and (name := HydraConfig.get().job.config_name) != "train":
        files.append(OmegaConf.load(config_folder() / f"{name}.yaml"))
    own = {str(name): value for file in files for name, value in file.items() if name not in ("defaults", "hydra")}
    groups = {path.partition(".")[0] for path in (*MADE, *PARTLY_MADE, *COLLECTIONS)}
    nodes = {name: tuple(value) for name, value in own.items() if OmegaConf.is_dict(value) and name not in COLLECTIONS}
    return {"": (*sorted(groups - own.keys()), *own), **nodes, **{group: _options_of(group) for group in VALUES_ONLY}}


@cache
def _options_of(group: str) -> tuple[str, ...]:
    """The options in the files of a group of the package."""
    names = [name for file in choices_of(config_folder() / group).values() for name in _options_in(file, group)]
    return tuple(name for name in dict.fromkeys(names) if join(group, name) not in OFFERED)


def _options_in(file: Path, group: str) -> Iterator[str]:
    """Yield the options of a group in a file, also one of several groups, and those that its defaults list adds."""
    content = cast(DictConfig, OmegaConf.load(file))
    yield from (str(name) for name in content.get(group, content) if name != "defaults")
    for entry in content.get("defaults", []):
        choice, _, place = entry.partition("@")
        place = place.removeprefix(f"{group}.")
        if place not in ("", "_here_"):
            yield place
        else:
            folder = config_folder() if choice.startswith("/") else file.parent
            yield from _options_in(folder / f"{choice.lstrip('/')}.yaml", group)


def made_nodes(config: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield every node that names a class or function, and its dotted key."""
    for path in (*MADE, *PARTLY_MADE):
        node = OmegaConf.select(config, path)
        if path != "recipe.scheduler" or node is not None:
            yield path, node
    for path in COLLECTIONS:
        yield from ((join(path, str(name)), node) for name, node in config[path].items())


def _check_made(path: str, node: Any) -> None:
    require(OmegaConf.is_dict(node) and "_target_" in node, path, plain(node), "a node with _target_ and arguments")
    target = node._target_
    if path == "sparsifier" and target is None:
        left_over = path in typed_groups()  # `drop_foreign` drops what an experiment sets for another sparsifier
        for key in (join(path, str(name)) for name in node if name != "_target_"):
            if not left_over or key in typed_keys("task"):
                raise no_option(key, ())
        return
    fits = isinstance(target, str) and target != ""
    require(fits, f"{path}._target_", target, "the dotted name of a class or function")
    if "_partial_" in node:
        boolean(f"{path}._partial_", node._partial_)


def no_option(key: str, offered: Collection[str], reader: str = "") -> UserError:
    """Return the error of an unknown option.

    Args:
        offered: The options that there are instead.
        reader: The class or function that takes them.
    """
    if near := get_close_matches(key, offered, n=3, cutoff=0.75):
        return UserError(f"there is no option '{key}'; did you mean {' or '.join(near)}?")
    names = ", ".join(sorted(name.rpartition(".")[2] for name in offered))
    node = key.rpartition(".")[0]
    takes = f"{reader} takes" if reader else f"{node} has" if node else "a config has"
    return UserError(f"there is no option '{key}'; {takes} {names or 'no options'}")


def missing(key: str, expected: str) -> UserError:
    """Return the error of an option that has been deleted."""
    return UserError(f"{key} is missing; expected {expected}")


FINITE = ("recipe.", "trainer.", "sparsifier.", "sparsity.")
"""Prefixes of options in which an infinite number has no meaning."""


def check_finite(config: DictConfig) -> None:
    """Check that no number is NaN, and that those of some groups are finite."""
    for key, value in _leaves(OmegaConf.to_container(config)):
        if isinstance(value, float) and not math.isfinite(value):
            fits = not math.isnan(value) and not key.startswith(FINITE)
            require(fits, key, value, "a finite number")


def join(path: str, name: str) -> str:
    """Return the dotted key of an option in a node."""
    return f"{path}.{name}" if path else name


def plain(node: Any) -> Any:
    """Return a node as Python's containers, for a message."""
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in items:
        yield from _leaves(child, join(path, str(name)))
    if not isinstance(value, dict | list):
        yield path, value


def _references(raw: Any) -> Iterator[str]:
    """Yield the dotted keys to which interpolations refer."""
    for path, value in _leaves(raw):
        if not isinstance(value, str) or "${" not in value:
            continue
        for dots, name in re.findall(r"\$\{(\.*)([\w.]+)", value):
            parents = path.split(".")[: -len(dots)] if dots else []
            yield ".".join([*parents, name])
        yield from re.findall(r"\$\{oc\.[\w.]+:\s*([\w.]+)", value)


def _is_read(key: str, references: Collection[str]) -> bool:
    """Whether an interpolation refers to an option, its node, or into it. The user's own groups count as read."""
    if HydraConfig.initialized() and key in HydraConfig.get().runtime.choices:
        return True
    return any(f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}.") for other in references)


def typed_overrides() -> dict[str, list[str]]:
    """Return the overrides of the command line, of the config ("task") and of Hydra ("hydra"), as they were typed."""
    overrides = OmegaConf.to_container(cast(DictConfig, HydraConfig.get().overrides))
    return cast(dict[str, list[str]], overrides)


def typed_keys(part: Literal["task", "hydra"]) -> set[str]:
    """Return the keys that the command line sets, of the config or of Hydra."""
    if not HydraConfig.initialized():
        return set()
    overrides = OverridesParser.create().parse_overrides(typed_overrides()[part])
    return {override.key_or_group for override in overrides}


def typed_groups() -> set[str]:
    """Return the groups whose choice the command line sets. A member may choose the sparsifier."""
    typed = typed_keys("task")
    return typed | {"sparsifier"} if "member" in typed else typed
