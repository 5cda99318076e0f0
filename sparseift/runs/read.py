"""Run folders as they are found: finished, failed, half-done, or not readable as a run."""

from __future__ import annotations

import csv
import json
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

import yaml

from ..common.console import one_by_one
from ..errors import UserError
from .command import config_folders, of_one_run, run_in
from .schema import faults

FINISHED, FAILED, HALF_DONE, UNREADABLE = "finished", "failed", "half-done", "unreadable"
STATES = (FINISHED, FAILED, HALF_DONE, UNREADABLE)
CONTENTS = {".hydra", "checkpoints", "tensorboard"}  # of a run folder: no runs in there


class NotARun(ValueError):
    """Why a folder can't be read as a run."""


@dataclass(frozen=True)
class Run:
    """One run folder. detail: why it failed, how far it came, or what can't be read.

    results: results.json, empty unless finished. config: .hydra/config.yaml, flat, with dotted keys; interpolations as
    they are written. arguments: of sparseift.train, which reproduce the run; None where .hydra is missing. metrics: the
    rows of metrics.csv, without empty cells.
    """

    folder: Path
    state: str
    detail: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] | None = None
    metrics: list[dict[str, float]] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Test top-1 of a finished run in percent."""
        return 100 * self.results["test"]["acc1"]

    @property
    def command(self) -> str | None:
        """The command that reproduces the run."""
        return _command(self.arguments) if self.arguments is not None else None

    @property
    def command_to_go_on(self) -> str | None:
        """The command that finishes a run in its own folder."""
        if self.arguments is None or self.state not in (FAILED, HALF_DONE):
            return None
        own = [argument for argument in self.arguments if not argument.startswith("resume=")]
        return _command((*own, run_in(self.folder), "resume=auto"))

    def series(self, column: str) -> dict[int, float]:
        """A column of metrics.csv by optimizer step."""
        return {int(row["step"]): row[column] for row in self.metrics if column in row}


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Every run folder among `paths` and below them, each once. Raises UserError where a path holds none."""
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path} is not a folder; give run folders, or folders that hold runs")
        folders = list(_run_folders(path))
        if not folders:
            raise UserError(f"no runs in {path}: no folder below it has a .hydra folder or a results.json")
        for folder in folders:
            found.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in one_by_one(found.values(), "runs")]


def read_run(folder: Path) -> Run:
    """What is in a folder; anything that is wrong with it becomes its state and detail."""
    try:
        return _read(folder)
    except NotARun as error:
        return Run(folder, UNREADABLE, str(error))
    except OSError as error:
        return Run(folder, UNREADABLE, f"{error.filename or folder}: {error.strerror}")


def _read(folder: Path) -> Run:
    config, arguments = _hydra(folder)
    results = _results(folder) if (folder / "results.json").exists() else {}
    if not config and not results:
        raise NotARun("neither results.json nor .hydra/config.yaml")
    try:
        metrics, damage = _metrics(folder), ""
    except NotARun as error:
        metrics, damage = [], str(error)
    if results:
        damage = damage or ("" if metrics else "without a step in metrics.csv")
        return Run(folder, FINISHED, damage, results, config, arguments, metrics)
    how_far = damage or _progress(metrics, config)
    if (folder / "error.txt").exists():
        return Run(folder, FAILED, f"{reason_of_failure(folder)} ({how_far})", {}, config, arguments, metrics)
    return Run(folder, HALF_DONE, how_far, {}, config, arguments, metrics)


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries into one with dotted keys, in which `_target_` names a class without its module."""
    if not isinstance(tree, dict) or (prefix and not tree):
        return {prefix: _without_modules(tree, prefix)} if prefix else {}
    pairs = (flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in tree.items())
    return {key: value for pair in pairs for key, value in pair.items()}


def _without_modules(value: Any, key: str) -> Any:
    """Classes move between modules from version to version, so configs are compared by class name."""
    if isinstance(value, list):
        return [_without_modules(item, "") for item in value]
    if isinstance(value, dict):
        return {name: _without_modules(item, str(name)) for name, item in value.items()}
    return value.rpartition(".")[2] if key.endswith("_target_") and isinstance(value, str) else value


def _command(arguments: Iterable[str]) -> str:
    return shlex.join(["python", "-m", "sparseift.train", *arguments])


def _run_folders(path: Path) -> Iterator[Path]:
    """Runs below a path, through links too, and folders in which there may be some, but which can't be read."""
    closed: list[OSError] = []
    seen: set[str] = set()
    for parent, folders, files in os.walk(path, followlinks=True, onerror=closed.append):
        real = os.path.realpath(parent)
        if real in seen:  # links may go in circles
            folders.clear()
            continue
        seen.add(real)
        is_run = ".hydra" in folders or "results.json" in files
        if is_run:
            yield Path(parent)
        folders[:] = sorted(name for name in folders if not (is_run and name in CONTENTS))
    yield from (Path(error.filename) for error in closed)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotARun(f"{path.name} can't be read: {error}") from error


def _results(folder: Path) -> dict[str, Any]:
    try:
        results = json.loads(_text(folder / "results.json"))
    except ValueError as error:
        raise NotARun(f"results.json is damaged or cut short: {error}") from error
    if fault := next(faults(results), None):
        raise NotARun(f"results.json is not that of a run of sparseift: {fault}")
    return results


def _hydra(folder: Path) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """The flat config, and the arguments that compose it; nothing where there is no .hydra folder."""
    if not (folder / ".hydra/config.yaml").exists():
        return {}, None
    config = _yaml(folder / ".hydra/config.yaml")
    if not isinstance(config, dict) or not {"member", "sparsity", "sparsifier"} <= config.keys():
        raise NotARun("a run of another program: its config has no member, sparsity and sparsifier")
    overrides = _yaml(folder / ".hydra/overrides.yaml") if (folder / ".hydra/overrides.yaml").exists() else None
    if not isinstance(overrides, list):
        return flat(config), None
    return flat(config), (*_config_folders(folder), *of_one_run(map(str, overrides)))


def _config_folders(folder: Path) -> Iterator[str]:
    if (folder / ".hydra/hydra.yaml").exists():
        try:
            yield from config_folders(_yaml(folder / ".hydra/hydra.yaml")["hydra"])
        except (KeyError, TypeError) as error:
            raise NotARun(f"hydra.yaml is not that of a run: no {error}") from error


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(_text(path))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a day that no month has
        raise NotARun(f"{path.name} is damaged: {' '.join(str(error).split())}") from error


def _metrics(folder: Path) -> list[dict[str, float]]:
    if not (folder / "metrics.csv").exists():
        return []
    try:
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = [{key: float(cell) for key, cell in row.items() if key and cell} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise NotARun(f"metrics.csv is damaged: {error}") from error
    return [row for row in rows if isfinite(row.get("step", nan))]


def _progress(metrics: list[dict[str, float]], config: dict[str, Any]) -> str:
    """How far a run came that has no results."""
    ends = [row for row in metrics if {"epoch", "train/acc1"} <= row.keys()]  # logged where an epoch ends
    epochs = [row["epoch"] for row in ends if isfinite(row["epoch"])]
    if epochs:
        return f"{max(epochs) + 1:.0f} of {config.get('recipe.epochs', '?')} epochs trained"
    return f"in its first epoch, step {max(row['step'] for row in metrics):.0f}" if metrics else "nothing trained"


def reason_of_failure(folder: Path) -> str:
    """The last line of error.txt: a mistake told in one, or the end of a traceback."""
    lines = (folder / "error.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "error.txt is empty")
