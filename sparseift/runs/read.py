"""Reads run folders: finished, failed, unfinished or unreadable ones."""

from __future__ import annotations

import csv
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, nan
from pathlib import Path
from typing import Any

import yaml

from ..common.console import one_by_one
from ..errors import UserError
from .command import config_folders, of_one_run, run_in
from .metric import Metric
from .results import read_results
from .upgrade import upgraded

FINISHED, FAILED, UNFINISHED, UNREADABLE = "finished", "failed", "unfinished", "unreadable"
STATES = (FINISHED, FAILED, UNFINISHED, UNREADABLE)
CONTENTS = {".hydra", "checkpoints", "tensorboard"}  # folders in a run folder, which contain no runs
EPOCH_END = {"epoch", "train/loss_epoch"}  # columns of metrics.csv that are written together when an epoch ends


class NotARun(ValueError):
    """A folder cannot be read as a run."""


@dataclass(frozen=True)
class Run:
    """The content of a run folder.

    Attributes:
        state: One of `STATES`.
        detail: Why the run failed, how far it was trained, or what cannot be read.
        results: results.json, upgraded to the current version; empty unless the run is finished.
        config: .hydra/config.yaml, upgraded to the current version, with dotted keys and unresolved interpolations.
        arguments: Arguments of sparseift.train that reproduce the run; None if they are not recorded.
        rows: The rows of metrics.csv, without empty cells.
    """

    folder: Path
    state: str
    detail: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] | None = None
    rows: list[dict[str, float]] = field(default_factory=list)

    @cached_property
    def metric(self) -> Metric:
        """The primary metric of a finished run, by which it is judged."""
        return Metric.from_dict(self.results["metrics"][0])

    @property
    def score(self) -> float:
        """The primary metric on the test set, in its unit."""
        return self.metric.shown(self.results["test"][self.metric.name])

    @property
    def command(self) -> str | None:
        """The command that reproduces the run."""
        return _command(self.arguments) if self.arguments is not None else None

    @property
    def resume_command(self) -> str | None:
        """The command that resumes a failed or unfinished run in its own folder."""
        if self.arguments is None or self.state not in (FAILED, UNFINISHED):
            return None
        own = [argument for argument in self.arguments if not argument.startswith(("resume=", "overwrite="))]
        return _command((*own, run_in(self.folder), "resume=auto"))

    def series(self, column: str) -> dict[int, float]:
        """Return the values in a column of metrics.csv by optimizer step."""
        return {int(row["step"]): row[column] for row in self.rows if column in row}


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """Read every run folder in `paths` and below once.

    Raises:
        UserError: A path is not a folder or contains no run.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path} is not a folder; expected a run folder or a folder of runs")
        folders = list(_run_folders(path))
        if not folders:
            raise UserError(f"no runs in {path}: no folder in it has a .hydra folder or a results.json")
        for folder in folders:
            found.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in one_by_one(found.values(), "runs")]


def read_run(folder: Path) -> Run:
    """Read a run folder. The state and detail of the result say what is wrong with it."""
    try:
        return _read(folder)
    except (NotARun, UserError) as error:
        return Run(folder, UNREADABLE, str(error))
    except OSError as error:
        return Run(folder, UNREADABLE, f"{error.filename or folder}: {error.strerror}")


def _read(folder: Path) -> Run:
    config, arguments = _hydra(folder)
    results = read_results(folder / "results.json") if (folder / "results.json").exists() else {}
    if not config and not results:
        raise NotARun("neither results.json nor .hydra/config.yaml")
    try:
        rows, damage = _rows(folder), ""
    except NotARun as error:
        rows, damage = [], str(error)
    if results:
        damage = damage or ("" if rows else "metrics.csv has no steps")
        return Run(folder, FINISHED, damage, results, config, arguments, rows)
    progress = damage or _progress(rows, config)
    if (folder / "error.txt").exists():
        return Run(folder, FAILED, f"{reason_of_failure(folder)} ({progress})", {}, config, arguments, rows)
    return Run(folder, UNFINISHED, progress, {}, config, arguments, rows)


def describes_run(folder: Path) -> bool:
    """Whether the .hydra folder in a folder describes a run of this package."""
    try:
        return bool(_hydra(folder)[0])
    except (NotARun, OSError):
        return False


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries into one with dotted keys. A `_target_` in this package loses its module."""
    if not isinstance(tree, dict) or (prefix and not tree):
        return {prefix: _without_modules(tree, prefix)} if prefix else {}
    pairs = (flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in tree.items())
    return {key: value for pair in pairs for key, value in pair.items()}


def _without_modules(value: Any, key: str) -> Any:
    """Reduce targets in this package to their names: they may move between versions. Other targets keep their path."""
    if isinstance(value, list):
        return [_without_modules(item, "") for item in value]
    if isinstance(value, dict):
        return {name: _without_modules(item, str(name)) for name, item in value.items()}
    own = key.endswith("_target_") and isinstance(value, str) and value.startswith("sparseift.")
    return value.rpartition(".")[2] if own else value


def _command(arguments: Iterable[str]) -> str:
    return shlex.join(["python", "-m", "sparseift.train", *arguments])


def _run_folders(path: Path) -> Iterator[Path]:
    """Yield the run folders in a path, following links, and the folders that cannot be listed."""
    closed: list[OSError] = []
    seen: set[str] = set()
    for parent, folders, files in os.walk(path, followlinks=True, onerror=closed.append):
        real = os.path.realpath(parent)
        if real in seen:  # links may form cycles
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
        raise NotARun(f"{path.name} cannot be read: {error}") from error


def _hydra(folder: Path) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """Return the flat config, empty without a .hydra folder, and the arguments that compose it."""
    if not (folder / ".hydra/config.yaml").exists():
        return {}, None
    config = _yaml(folder / ".hydra/config.yaml")
    if not isinstance(config, dict) or not {"member", "sparsity", "sparsifier"} <= config.keys():
        raise NotARun("not a run of sparseift: its config has no member, sparsity and sparsifier")
    overrides = _yaml(folder / ".hydra/overrides.yaml") if (folder / ".hydra/overrides.yaml").exists() else None
    settings = upgraded(flat(config))
    if not isinstance(overrides, list):
        return settings, None
    return settings, (*_config_folders(folder), *of_one_run(map(str, overrides)))


def _config_folders(folder: Path) -> Iterator[str]:
    if (folder / ".hydra/hydra.yaml").exists():
        try:
            yield from config_folders(_yaml(folder / ".hydra/hydra.yaml")["hydra"])
        except (KeyError, TypeError) as error:
            raise NotARun(f"hydra.yaml does not describe a run: {error} is missing") from error


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(_text(path))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date
        raise NotARun(f"{path.name} is damaged: {' '.join(str(error).split())}") from error


def _rows(folder: Path) -> list[dict[str, float]]:
    if not (folder / "metrics.csv").exists():
        return []
    try:
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = [{key: float(cell) for key, cell in row.items() if key and cell} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise NotARun(f"metrics.csv is damaged: {error}") from error
    return [row for row in rows if isfinite(row.get("step", nan))]


def _progress(rows: list[dict[str, float]], config: dict[str, Any]) -> str:
    """Return how far a run without results was trained."""
    epochs = [row["epoch"] for row in rows if row.keys() >= EPOCH_END and isfinite(row["epoch"])]
    if epochs:
        return f"{max(epochs) + 1:.0f} of {config.get('recipe.epochs', '?')} epochs trained"
    return f"first epoch, step {max(row['step'] for row in rows):.0f}" if rows else "nothing trained"


def reason_of_failure(folder: Path) -> str:
    """Return the last line of error.txt: the message of an error, or the end of its traceback."""
    lines = (folder / "error.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "error.txt is empty")
