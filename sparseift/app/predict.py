"""Applies the network of a run to inputs from the command line."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from ..common.checks import require
from ..common.console import cell, one_by_one, waiting
from ..common.messages import one_line
from ..errors import UserError
from ..loading import LoadedFile, load
from ..tasks import Task

Row = dict[str, Any]


def predict(
    run: Path, inputs: Sequence[str], weights: str | None, device: str, options: Mapping[str, Any], form: str
) -> None:
    """Print what the network of a run predicts.

    Args:
        run: The run folder, or a compact file.
        inputs: What the task of the run calls inputs, such as paths.
        weights: Which weights (see `sparseift.load`).
        device: A device of torch.
        options: Options of `Task.predict`.
        form: "table", "csv" or "json".

    Raises:
        UserError: An input cannot be read, or the task takes no such input or option.
    """
    with waiting("network"):
        loaded = load(run, weights)
    task = loaded.task
    if task is None or (loaded.preprocessing is None and isinstance(loaded, LoadedFile)):
        raise UserError(f"{run} says nothing about the inputs of the network: the run had a task or data of its own")
    _check_options(task, options)
    if loaded.preprocessing is None:
        raise UserError(
            f"results.json of {run} says nothing about the inputs of the network: the run is not finished, an earlier "
            "version wrote it, or its data set has no `preprocessing`"
        )
    try:
        network = loaded.network.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
        raise UserError(f"--device is {device!r}, which torch cannot use: {one_line(error, whole=False)}") from error
    with torch.inference_mode():
        rows = [
            {"input": text, **row}
            for text in one_by_one(inputs, "inputs")
            for row in task.predict(network, loaded.preprocessing, text, **options)
        ]
    PRINTERS[form](rows)


def _check_options(task: Task, options: Mapping[str, Any]) -> None:
    taken = signature(task.predict).parameters
    for name, value in options.items():
        kind = type(task).__name__
        require(name in taken, f"--{name}", value, f"no value, because the task {kind} has no such option")


def _as_table(rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="right" if isinstance(rows[0][name], float | int) else "left")
    for row, before in zip(rows, [{}, *rows], strict=False):
        shown = {**row, "input": "" if row["input"] == before.get("input") else row["input"]}
        table.add_row(*(cell(f"{value:.4f}" if isinstance(value, float) else str(value)) for value in shown.values()))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _as_csv(rows: Sequence[Row]) -> None:
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _as_json(rows: Sequence[Row]) -> None:
    print(json.dumps(rows, indent=2))


PRINTERS: dict[str, Callable[[Sequence[Row]], None]] = {"table": _as_table, "csv": _as_csv, "json": _as_json}
