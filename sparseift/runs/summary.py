"""What finished runs came to, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..common.console import si


def sparsity(run: dict[str, Any]) -> str:
    return "-" if run["distribution"] is None else f"{run['sparsity']:g}, {run['distribution']}"


ROWS: dict[str, Callable[[dict[str, Any]], str]] = {
    "sparsity": sparsity,
    "sparsifier": lambda run: run["sparsifier"],
    "test top-1": lambda run: f"{100 * run['test']['acc1']:.2f} %",
    "test top-5": lambda run: f"{100 * run['test']['acc5']:.2f} %",
    "FLOPs a sample": lambda run: si(run["flops"]["forward"]),
    "of the budget": lambda run: f"{run['flops']['ratio']:.4f}",
    "stored parameters": lambda run: si(run["params"]["stored"]),
    "active parameters": lambda run: si(run["params"]["active"]),
    "training FLOPs": lambda run: si(run["flops"]["train_total"]),
    "seconds": lambda run: f"{run['seconds']:.0f}",
}


def print_summary(runs: list[dict[str, Any]]) -> None:
    """One table of runs, a column each."""
    table = Table(title=Text(" / ".join(dict.fromkeys(map(_title, runs)))))
    table.add_column()
    for run in runs:
        table.add_column(run["member"], justify="right")
    for name, cell in ROWS.items():
        table.add_row(name, *map(cell, runs))
    Console().print(table)


def _title(run: dict[str, Any]) -> str:
    epochs = "epoch" if run["epochs"] == 1 else "epochs"
    return f"{run['model']} on {run['dataset']}, {run['epochs']} {epochs}"
