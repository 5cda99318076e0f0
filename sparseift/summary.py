"""Finished runs side by side: python -m sparseift.summary RUN/results.json [RUN/results.json ...]"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SI_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def si(count: float) -> str:
    """Four digits and an SI prefix: 1115226800 -> 1.115 G."""
    for size, prefix in SI_PREFIXES:
        if count >= size:
            return f"{count / size:.4g} {prefix}"
    return f"{count:.4g}"


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
    """One table of runs, a column each; they share model, data set and epochs."""
    table = Table(title=f"{runs[0]['model']} on {runs[0]['dataset']}, {runs[0]['epochs']} epochs")
    table.add_column()
    for run in runs:
        table.add_column(run["member"], justify="right")
    for name, cell in ROWS.items():
        table.add_row(name, *map(cell, runs))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sparseift.summary", description="Finished runs side by side")
    parser.add_argument("results", nargs="+", type=Path, help="results.json of a finished run")
    try:
        print_summary([json.loads(path.read_text()) for path in parser.parse_args().results])
    except (OSError, json.JSONDecodeError, KeyError) as error:
        parser.error(f"not the results.json of a finished run: {error}")


if __name__ == "__main__":
    main()
