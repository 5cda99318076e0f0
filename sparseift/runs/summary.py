"""The table of results that a run prints at its end, and `compare` prints for two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from ..common.console import cell, si
from .metric import Metric

Cell = Callable[[dict[str, Any]], str]


def sparsity(run: dict[str, Any]) -> str:
    """Return the sparsity and its distribution over the layers, "-" for a run without masks."""
    return "-" if run["distribution"] is None else f"{run['sparsity']:g}, {run['distribution']}"


COSTS: dict[str, Cell] = {
    "FLOPs per sample": lambda run: si(run["flops"]["forward"]),
    "relative to budget": lambda run: f"{run['flops']['ratio']:.4f}",
    "stored parameters": lambda run: si(run["params"]["stored"]),
    "active parameters": lambda run: si(run["params"]["active"]),
    "training FLOPs": lambda run: si(run["flops"]["train_total"]),
    "seconds": lambda run: f"{run['seconds']:.0f}",
}


def print_summary(runs: Sequence[dict[str, Any]]) -> None:
    """Print a table with one column per run.

    Args:
        runs: The content of results.json of each run.
    """
    table = Table(title=cell(" / ".join(dict.fromkeys(map(_title, runs)))))
    table.add_column()
    for run in runs:
        table.add_column(cell(run["member"]), justify="right")
    for name, text in (*_settings(runs), *_scores(runs), *COSTS.items()):
        table.add_row(cell(name), *(cell(text(run)) for run in runs))
    Console().print(table)


def _settings(runs: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Cell]]:
    yield "sparsity", sparsity
    if any(run["pattern"] != "unstructured" for run in runs):
        yield "pattern", lambda run: run["pattern"]
    yield "sparsifier", lambda run: run["sparsifier"]


def _scores(runs: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Cell]]:
    """Yield a row for each metric of any run."""
    for metric in dict.fromkeys(metric for run in runs for metric in _metrics(run)):
        yield f"test {metric.label}", partial(_score, metric)


def _score(metric: Metric, run: dict[str, Any]) -> str:
    return metric.text(run["test"][metric.name]) if metric in _metrics(run) else "-"


def _metrics(run: dict[str, Any]) -> list[Metric]:
    return [Metric.from_dict(description) for description in run["metrics"]]


def _title(run: dict[str, Any]) -> str:
    epochs = "epoch" if run["epochs"] == 1 else "epochs"
    return f"{run['model']} on {run['dataset']}, {run['epochs']} {epochs}"
