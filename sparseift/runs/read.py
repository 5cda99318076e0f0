"""Reads run folders: finished, failed, unfinished or unreadable ones."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite, nan
from pathlib import Path
from typing import Any

from ..common.console import one_by_one
from ..errors import UserError
from .command import config_folders, of_one_run, run_in
from .files import present, read_end, read_table, read_yaml
from .generated import Continuation, read_generated
from .metric import Metric
from .results import read_results
from .schema import LARGEST
from .upgrade import upgraded

FINISHED, FAILED, UNFINISHED, UNREADABLE = "finished", "failed", "unfinished", "unreadable"
STATES = (FINISHED, FAILED, UNFINISHED, UNREADABLE)
CONTENTS = {".hydra", "checkpoints", "hub", "tensorboard"}  # folders in a run folder, which contain no runs
EPOCH_END = {"epoch", "train/loss_epoch"}  # columns of metrics.csv that are written together when an epoch ends
LONGEST_DETAIL = 500  # characters
DEEPEST_FOLDER, MOST_FOLDERS = 100, 100_000
"""How far to search for runs below a folder: levels, and the number of folders."""


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
        texts: What the network has generated, from generated.json.
    """

    folder: Path
    state: str
    detail: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    texts: list[Continuation] = field(default_factory=list)

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
    found: dict[str, tuple[Path, str]] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path} is not a folder; expected a run folder or a folder of runs")
        folders = list(_run_folders(path))
        if not folders:
            raise UserError(f"no runs in {path}: no folder in it has a .hydra folder or a results.json")
        for folder, problem in folders:
            found.setdefault(os.path.realpath(folder), (folder, problem))
    return [
        Run(folder, UNREADABLE, problem) if problem else read_run(folder)
        for folder, problem in one_by_one(found.values(), "runs")
    ]


def read_run(folder: Path) -> Run:
    """Read a run folder. The state and detail of the result say what is wrong with it."""
    try:
        return _read(folder)
    except UserError as error:
        return Run(folder, UNREADABLE, shortened(str(error)))
    except OSError as error:
        return Run(folder, UNREADABLE, f"{error.filename or folder}: {error.strerror}")


def _read(folder: Path) -> Run:
    config, arguments = _hydra(folder)
    results = read_results(folder / "results.json") if present(folder / "results.json") else {}
    if not config and not results:
        raise UserError("neither results.json nor .hydra/config.yaml")
    try:
        rows, damage = _rows(folder), ""
    except UserError as error:
        rows, damage = [], shortened(str(error))
    if results:
        try:
            texts = read_generated(folder)
        except UserError as error:
            texts, damage = [], damage or shortened(str(error))
        damage = damage or ("" if rows else "metrics.csv has no steps")
        return Run(folder, FINISHED, damage, results, config, arguments, rows, texts)
    progress = damage or _progress(rows, config)
    if (reason := reason_of_failure(folder)) is not None:
        return Run(folder, FAILED, f"{reason} ({progress})", {}, config, arguments, rows)
    return Run(folder, UNFINISHED, progress, {}, config, arguments, rows)


def describes_run(folder: Path) -> bool:
    """Whether the .hydra folder in a folder describes a run of this package."""
    try:
        return read_config(folder) is not None
    except (UserError, OSError):
        return False


def read_config(folder: Path) -> dict[str, Any] | None:
    """Return .hydra/config.yaml of a run folder, None if there is none.

    Raises:
        UserError: The file cannot be read, or is not the config of a run.
    """
    if not present(folder / ".hydra/config.yaml"):
        return None
    config = read_yaml(folder / ".hydra/config.yaml")
    if not isinstance(config, dict) or not {"member", "sparsity", "sparsifier"} <= config.keys():
        raise UserError("not a run of sparseift: its config has no member, sparsity and sparsifier")
    return config


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


def _run_folders(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the run folders in a path, following links, and the folders that cannot be searched, with the reason."""
    closed: list[OSError] = []
    above = os.path.realpath(path)
    seen: set[str] = {parent.as_posix() for parent in Path(above).parents}  # a link to one would lead back here
    for parent, folders, files in os.walk(path, followlinks=True, onerror=closed.append):
        real = os.path.realpath(parent)
        if real in seen:  # links may form cycles
            folders.clear()
            continue
        seen.add(real)
        is_run = ".hydra" in folders or "results.json" in files
        if is_run:
            yield Path(parent), ""
        folders[:] = sorted(name for name in folders if not (is_run and name in CONTENTS))
        if len(Path(parent).parts) - len(path.parts) >= DEEPEST_FOLDER and folders:
            yield Path(parent), f"folders more than {DEEPEST_FOLDER} levels below {path} are not searched"
            folders.clear()
        if len(seen) > MOST_FOLDERS:
            yield Path(parent), f"the search ends here, after {MOST_FOLDERS:,} folders"
            return
    yield from ((Path(error.filename), error.strerror or str(error)) for error in closed)


def _hydra(folder: Path) -> tuple[dict[str, Any], tuple[str, ...] | None]:
    """Return the flat config, empty without a .hydra folder, and the arguments that compose it."""
    config = read_config(folder)
    if config is None:
        return {}, None
    overrides = read_yaml(folder / ".hydra/overrides.yaml") if present(folder / ".hydra/overrides.yaml") else None
    settings = upgraded(flat(config))
    if not isinstance(overrides, list):
        return settings, None
    return settings, (*_config_folders(folder), *of_one_run(map(str, overrides)))


def _config_folders(folder: Path) -> Iterator[str]:
    if present(folder / ".hydra/hydra.yaml"):
        try:
            yield from map(str, config_folders(read_yaml(folder / ".hydra/hydra.yaml")["hydra"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"hydra.yaml does not describe a run: {error} is missing") from error


def _rows(folder: Path) -> list[dict[str, float]]:
    """Return the rows that have a step. Numbers that nothing can be computed with are NaN."""
    rows = read_table(folder / "metrics.csv") if present(folder / "metrics.csv") else []
    usable = ({key: cell if abs(cell) < LARGEST else nan for key, cell in row.items()} for row in rows)
    return [row for row in usable if isfinite(row.get("step", nan))]


def _progress(rows: list[dict[str, float]], config: dict[str, Any]) -> str:
    """Return how far a run without results was trained."""
    epochs = [row["epoch"] for row in rows if row.keys() >= EPOCH_END and isfinite(row["epoch"])]
    if epochs:
        return f"{max(epochs) + 1:.0f} of {shortened(str(config.get('recipe.epochs', '?')))} epochs trained"
    return f"first epoch, step {max(row['step'] for row in rows):.0f}" if rows else "nothing trained"


def reason_of_failure(folder: Path) -> str | None:
    """Return the last line of error.txt, the message of an error or the end of its traceback. None without the file."""
    if not present(folder / "error.txt"):
        return None
    lines = read_end(folder / "error.txt").split("\n")
    return shortened(next((line.strip() for line in reversed(lines) if line.strip()), "error.txt is empty"))


def shortened(text: str) -> str:
    """Cut a text to `LONGEST_DETAIL` characters."""
    return text if len(text) <= LONGEST_DETAIL else f"{text[: LONGEST_DETAIL - 1]}…"
