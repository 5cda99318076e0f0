"""Rows of the table: finished runs that differ only in the seed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import mean
from typing import Any

from ..runs.metric import Metric
from ..runs.read import FINISHED, Run
from ..runs.settings import WITHOUT_EFFECT, within
from .published import Published, published
from .statistics import Difference, difference, spread

COMMON = ("model", "dataset", "task", "recipe", "trainer", "callbacks", "checkpoint")
"""Groups of the config in which compared runs must agree."""

METHOD = ("member", "sparsifier", "sparsity", "pattern", "backend")
"""Groups in which compared runs may differ. Without masks, only the first two matter."""

IRRELEVANT = (*WITHOUT_EFFECT, "callbacks.topology")
"""Options in which compared runs may differ."""

SHOWN_ELSEWHERE = ("sparsity.level", "partial")
"""Settings of a row that have a column of their own."""

STATED = ("recipe.epochs", "recipe.steps", "dataset.batch_size", "trainer.precision", "model.pretrained", "init.from")
"""Settings that a section states once if all of its rows share them."""

USUAL = {"distribution": "uniform", "sparsifier": "none", "pattern": "unstructured", "backend": "masked"}
"""Choices that labels omit."""


@dataclass(eq=False, kw_only=True)
class Row:
    """Finished runs with the same settings. Scores are in the unit of the primary metric.

    Attributes:
        variant: The settings that at most half of the rows share, as overrides.
        dense: The row of the dense network with the same settings, if any.
        static: The row of the same network with static masks, if any.
    """

    dataset: str
    model: str
    member: str
    sparsity: float
    distribution: str | None
    sparsifier: str
    pattern: str
    backend: str
    runs: list[Run]
    variant: str = ""
    dense: Row | None = None
    static: Row | None = None

    @property
    def metric(self) -> Metric:
        return self.runs[0].metric

    @property
    def method(self) -> tuple[str, ...]:
        """The choices other than the sparsity."""
        return self.member, self.distribution or "", self.sparsifier, self.pattern, self.backend

    @property
    def is_dense(self) -> bool:
        """Whether this is a dense network, with which other rows are compared."""
        return self.member == "dense" and self.sparsity == 0

    @cached_property
    def scores(self) -> dict[int, float]:
        """The test score of each seed, the mean if several runs have that seed."""
        values: dict[int, list[float]] = defaultdict(list)
        for run in self.runs:
            values[run.results["seed"]].append(run.score)
        return {seed: mean(several) for seed, several in values.items()}

    @property
    def mean(self) -> float:
        return mean(self.scores.values())

    @property
    def std(self) -> float | None:
        return spread(self.scores.values())

    @cached_property
    def to_dense(self) -> Difference | None:
        """The difference to the dense network."""
        return difference(self.scores, self.dense.scores) if self.dense else None

    @cached_property
    def to_static(self) -> Difference | None:
        """The difference to static masks."""
        return difference(self.scores, self.static.scores) if self.static else None

    @property
    def train_flops(self) -> float:
        """FLOPs of the training, mean over runs."""
        return mean(run.results["flops"]["train_total"] for run in self.runs)

    @cached_property
    def published(self) -> Published | None:
        """The value of the paper for these settings, if any."""
        return published(self.runs)


@dataclass
class Section:
    """The rows of one network, data set, task and primary metric. Dense networks come first.

    Attributes:
        details: Task and metric, if sections of the same network and data set differ in them.
    """

    dataset: str
    model: str
    details: str
    rows: list[Row]

    @property
    def title(self) -> str:
        return f"{self.model} on {self.dataset}" + (f" ({self.details})" if self.details else "")

    @property
    def metric(self) -> Metric:
        return self.rows[0].metric

    @property
    def shared(self) -> str:
        """The settings of `STATED` that all rows share, as overrides."""
        configs = [row.runs[0].config for row in self.rows]
        found = {key: {_frozen(config.get(key)) for config in configs} for key in STATED}
        texts = [f"{key}={configs[0][key]}" for key, values in found.items() if len(values) == 1 and key in configs[0]]
        return " ".join(text for text in texts if not text.endswith(("=None", "=-1")))

    @property
    def decimals(self) -> int:
        """The number of decimals of all scores."""
        return self.metric.decimals(max(abs(row.mean) for row in self.rows))


def sections(runs: Iterable[Run]) -> list[Section]:
    """Group the finished runs into sections."""
    groups: dict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        if run.state == FINISHED:
            groups[_frozen([_kind(run), _identity(run), _common(run), _method(run)])].append(run)
    tables: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for group in groups.values():
        by_seed = sorted(group, key=lambda run: (run.results["seed"], str(run.folder)))
        tables[_kind(group[0])].append(Row(**_identity(group[0]), runs=by_seed))
    counts = Counter(kind[:2] for kind in tables)
    return [_section(rows, _details(kind) if counts[kind[:2]] > 1 else "") for kind, rows in sorted(tables.items())]


def _kind(run: Run) -> tuple[Any, ...]:
    """Return what the runs of a section share."""
    metric = run.metric
    names = (run.results[key] for key in ("dataset", "model", "task"))
    return (*names, metric.name, metric.unit, metric.higher_is_better)


def _details(kind: tuple[Any, ...]) -> str:
    task, name, unit, higher_is_better = kind[2:]
    return ", ".join(
        part for part in (task, name, unit, f"{'higher' if higher_is_better else 'lower'} is better") if part
    )


def _section(rows: list[Row], details: str) -> Section:
    dense = {_frozen(_common(row.runs[0])): row for row in rows if row.is_dense}
    static = {_frozen(_without_sparsifier(row.runs[0])): row for row in rows if row.sparsifier == "static"}
    for row in rows:
        row.dense = None if row.is_dense else dense.get(_frozen(_common(row.runs[0])))
        row.static = None if row.sparsifier == "static" else static.get(_frozen(_without_sparsifier(row.runs[0])))
    known, bare = [row for row in rows if row.runs[0].config], [row for row in rows if not row.runs[0].config]
    for row, settings in (_unusual(known) | _unusual(bare)).items():
        parts = [f"{key}={value}" for key, value in sorted(settings.items()) if key not in SHOWN_ELSEWHERE]
        row.variant = " ".join(["without config", *parts] if known and row in bare else parts)
    rows.sort(key=lambda row: (not row.is_dense, row.member, row.sparsity, *row.method, row.variant))
    return Section(rows[0].dataset, rows[0].model, details, rows)


def _unusual(rows: list[Row]) -> dict[Row, dict[str, Any]]:
    """Return the settings of each row that at most half of the rows share, or half of the rows of its method."""
    unusual = _minority({row: _common(row.runs[0]) for row in rows})
    for method in {row.method for row in rows}:
        for row, settings in _minority({row: _method(row.runs[0]) for row in rows if row.method == method}).items():
            unusual[row] |= settings
    return unusual


def _minority(settings: dict[Row, dict[str, Any]]) -> dict[Row, dict[str, Any]]:
    """Return the settings of each row that at most half of the rows share."""
    counts = Counter((key, _frozen(value)) for setting in settings.values() for key, value in setting.items())
    return {
        row: {key: value for key, value in setting.items() if 2 * counts[key, _frozen(value)] <= len(settings)}
        for row, setting in settings.items()
    }


def _identity(run: Run) -> dict[str, Any]:
    """Return the choices that name a row. Without masks, pattern and backend have no effect."""
    keys = ("dataset", "model", "member", "sparsity", "distribution", "sparsifier")
    unmasked = not run.results["sparsity"]
    choices = {key: USUAL[key] if unmasked else run.results[key] for key in ("pattern", "backend")}
    return {key: run.results[key] for key in keys} | choices


def _common(run: Run) -> dict[str, Any]:
    """Return the settings in which compared runs must agree; without a config, epochs and budget."""
    partial = {"partial": run.results["partial"]} if run.results.get("partial") else {}
    if not run.config:
        return {"recipe.epochs": run.results["epochs"], "flops.budget": run.results["flops"]["budget"], **partial}
    return _nodes(run, COMMON) | partial


def _method(run: Run) -> dict[str, Any]:
    return _nodes(run, METHOD if run.results["sparsity"] else METHOD[:2])


def _without_sparsifier(run: Run) -> dict[str, Any]:
    """Return all settings except those of the sparsifier."""
    identity = {key: value for key, value in _identity(run).items() if key != "sparsifier"}
    return identity | _common(run) | _nodes(run, tuple(group for group in METHOD if group != "sparsifier"))


def _nodes(run: Run, groups: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: value for key, value in run.config.items() if key.split(".")[0] in groups and not within(key, IRRELEVANT)
    }


def _frozen(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
