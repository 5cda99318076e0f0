"""Rows of the table: finished runs that differ in their seed alone, and what they amount to."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from statistics import mean
from typing import Any

from ..runs.read import FINISHED, Run
from .statistics import Difference, difference, spread

COMMON = ("model", "dataset", "recipe", "trainer", "callbacks", "checkpoint")
"""Config nodes in which the runs that are compared agree."""

METHOD = ("member", "sparsifier", "sparsity")
"""Config nodes in which they may differ."""

IRRELEVANT = {
    *("checkpoint.every_n_steps", "dataset.num_workers", "dataset.root"),
    *("trainer.accelerator", "trainer.log_every_n_steps"),
    *(f"callbacks.{name}" for name in ("histograms", "learning_rate", "mask_pictures", "spectral", "topology")),
}
"""Keys that change nothing of what is learned, up to rounding, and callbacks that only look."""


@dataclass(frozen=True)
class Published:
    """A figure of the paper, and how far above its dense one it is, in percent; None where that is not known."""

    top1: float
    gain: float | None


@dataclass(eq=False, kw_only=True)
class Row:
    """Finished runs of one setting. variant: what is unusual about it in its section, as overrides. dense, static: the
    rows to compare with, the dense network's and that of the same network with masks that stay as they are.

    Accuracies are in percent.
    """

    dataset: str
    model: str
    member: str
    sparsity: float
    distribution: str | None
    sparsifier: str
    runs: list[Run]
    variant: str = ""
    dense: Row | None = None
    static: Row | None = None

    @property
    def method(self) -> tuple[str, ...]:
        """What may be tried at several sparsities."""
        return self.member, self.distribution or "", self.sparsifier

    @property
    def is_dense(self) -> bool:
        """The plain dense network, to which the others are compared."""
        return self.member == "dense" and self.sparsity == 0

    @cached_property
    def accuracy(self) -> dict[int, float]:
        """Test top-1 by seed; the mean of several runs of one seed, which are no independent ones."""
        values: dict[int, list[float]] = defaultdict(list)
        for run in self.runs:
            values[run.results["seed"]].append(run.accuracy)
        return {seed: mean(several) for seed, several in values.items()}

    @property
    def mean(self) -> float:
        return mean(self.accuracy.values())

    @property
    def std(self) -> float | None:
        return spread(self.accuracy.values())

    @cached_property
    def to_dense(self) -> Difference | None:
        """In points."""
        return difference(self.accuracy, self.dense.accuracy) if self.dense else None

    @cached_property
    def to_static(self) -> Difference | None:
        """In points: what moving the masks is worth."""
        return difference(self.accuracy, self.static.accuracy) if self.static else None

    @property
    def train_flops(self) -> float:
        """All of a training, in the mean of the runs."""
        return mean(run.results["flops"]["train_total"] for run in self.runs)

    @cached_property
    def published(self) -> Published | None:
        """The paper's figure, for the network of the paper trained for as long."""
        top1 = _figure(self.dataset, self.model, self.member, self.sparsity, self.sparsifier)
        if top1 is None or self.distribution not in (None, "uniform") or not all(map(_as_published, self.runs)):
            return None
        dense = _figure(self.dataset, self.model, "dense", 0, "none")
        return Published(top1, None if self.is_dense or dense is None else top1 - dense)


@dataclass
class Section:
    """The rows of one network and data set, dense ones first."""

    dataset: str
    model: str
    rows: list[Row]

    @property
    def title(self) -> str:
        return f"{self.model} on {self.dataset}"


def sections(runs: Iterable[Run]) -> list[Section]:
    """The finished ones of `runs` as tables."""
    groups: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        if run.state == FINISHED:
            groups[_frozen(_identity(run) | _common(run) | _method(run))].append(run)
    tables: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for group in groups.values():
        by_seed = sorted(group, key=lambda run: (run.results["seed"], str(run.folder)))
        row = Row(**_identity(group[0]), runs=by_seed)
        tables[row.dataset, row.model].append(row)
    return [_section(*names, rows) for names, rows in sorted(tables.items())]


def _section(dataset: str, model: str, rows: list[Row]) -> Section:
    dense = {_frozen(_common(row.runs[0])): row for row in rows if row.is_dense}
    static = {_frozen(_still(row.runs[0])): row for row in rows if row.sparsifier == "static"}
    for row in rows:
        row.dense = None if row.is_dense else dense.get(_frozen(_common(row.runs[0])))
        row.static = None if row.sparsifier == "static" else static.get(_frozen(_still(row.runs[0])))
    known, bare = [row for row in rows if row.runs[0].config], [row for row in rows if not row.runs[0].config]
    for row, settings in (_unusual(known) | _unusual(bare)).items():
        parts = [f"{key}={value}" for key, value in sorted(settings.items()) if key != "sparsity.level"]
        row.variant = " ".join(["without config", *parts] if known and row in bare else parts)
    rows.sort(key=lambda row: (not row.is_dense, row.member, row.sparsity, *row.method, row.variant))
    return Section(dataset, model, rows)


def _unusual(rows: list[Row]) -> dict[Row, dict[str, Any]]:
    """Of each row the settings that few others share, or few others of its method."""
    unusual = _odd({row: _common(row.runs[0]) for row in rows})
    for method in {row.method for row in rows}:
        for row, settings in _odd({row: _method(row.runs[0]) for row in rows if row.method == method}).items():
            unusual[row] |= settings
    return unusual


def _odd(settings: dict[Row, dict[str, Any]]) -> dict[Row, dict[str, Any]]:
    """Of each row the settings that more than half of the rows do not share."""
    counts = Counter((key, _frozen(value)) for setting in settings.values() for key, value in setting.items())
    return {
        row: {key: value for key, value in setting.items() if 2 * counts[key, _frozen(value)] <= len(settings)}
        for row, setting in settings.items()
    }


def _identity(run: Run) -> dict[str, Any]:
    keys = ("dataset", "model", "member", "sparsity", "distribution", "sparsifier")
    return {key: run.results.get(key) for key in keys}


def _common(run: Run) -> dict[str, Any]:
    """What the runs that are compared have in common. Of a run without its config: length and budget."""
    if not run.config:
        return {"recipe.epochs": run.results["epochs"], "flops.budget": run.results["flops"]["budget"]}
    return _nodes(run, COMMON)


def _method(run: Run) -> dict[str, Any]:
    """A network that masks nothing takes nothing from `sparsity`."""
    return _nodes(run, METHOD if run.results["sparsity"] else METHOD[:2])


def _still(run: Run) -> dict[str, Any]:
    """All but the way in which the masks move."""
    identity = {key: value for key, value in _identity(run).items() if key != "sparsifier"}
    return identity | _common(run) | _nodes(run, ("member", "sparsity"))


def _nodes(run: Run, nodes: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: value
        for key, value in run.config.items()
        if key.split(".")[0] in nodes and not any(f"{key}.".startswith(f"{one}.") for one in IRRELEVANT)
    }


def _frozen(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _as_published(run: Run) -> bool:
    theirs = _published()["runs"].get(run.results["dataset"], {}).get(run.results["model"])
    ours = {"epochs": run.results["epochs"], "budget": run.results["flops"]["budget"]}
    return ours == theirs and not any(map(_changes, run.arguments or ()))


def _changes(argument: str) -> bool:
    """An override makes another network than its config does, of the same FLOPs maybe."""
    key = argument.lstrip("+~").partition("=")[0]
    return key.startswith("model.") and key != "model.name"


@cache
def _published() -> dict[str, Any]:
    return json.loads(files("sparseift.report").joinpath("published.json").read_text())


def _figure(dataset: str, model: str, member: str, sparsity: float, sparsifier: str) -> float | None:
    """Top-1 of the paper, in percent. A figure whose sparsifier is not said is taken to be of RigL, as most are."""
    for figure in _published()["figures"]:
        names = (figure["dataset"], figure["model"], figure["member"], figure["sparsity"], figure["metric"])
        moved = figure["sparsifier"] or "rigl"
        if (*names, moved) == (dataset, model, member, sparsity, "top1", sparsifier):
            return figure["value"]
    return None
