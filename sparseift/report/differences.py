"""The differences between two runs in config, plan and result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..common.console import cell, plain, si
from ..errors import UserError
from ..runs.read import FINISHED, UNREADABLE, Run, read_run
from ..runs.summary import print_summary


def compare(a: Path, b: Path) -> None:
    """Print the differences between two runs: settings, then layers, then results."""
    first, second = _readable(a), _readable(b)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for name, run in (("A", first), ("B", second)):
        print(plain(f"{name}: {run.folder}, {run.state}{', ' if run.detail else ''}{run.detail}"))
    _print_differences(console, "config", first.config, second.config, ".hydra/config.yaml")
    if first.state == second.state == FINISHED:
        title = "layers: active / stored weights (density), FLOPs per sample"
        _print_differences(console, title, _layers(first), _layers(second), "layers in results.json")
        print_summary([first.results, second.results])
        for name, run in (("A", first), ("B", second)):
            if run.results.get("partial"):
                print(plain(f"{name} is a partial run: {run.results['partial']}"))
        print(plain(_verdict(first, second)))


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the keys whose values differ, with both values, "-" for a missing key."""
    return [(key, str(a.get(key, "-")), str(b.get(key, "-"))) for key in {**a, **b} if a.get(key, ()) != b.get(key, ())]


def _layers(run: Run) -> dict[str, str]:
    return {layer["name"]: _layer(layer) for layer in run.results.get("layers", [])}


def _layer(layer: dict[str, Any]) -> str:
    density = layer["active"] / layer["stored"]
    return f"{layer['active']:,} / {layer['stored']:,} ({density:.4f}), {si(layer['flops'])}"


def _verdict(a: Run, b: Run) -> str:
    """State that two finished runs are bit-identical, or how their scores differ."""
    sums = [[run.results.get(name) for name in ("weights_sha256", "masks_sha256")] for run in (a, b)]
    if sums[0] == sums[1] and sums[0][0]:
        return "weights and masks: bit-identical"
    if a.metric != b.metric:
        return f"A is judged by {a.metric.label}, B by {b.metric.label}: no difference to compute"
    gain, decimals = b.score - a.score, a.metric.decimals(max(abs(a.score), abs(b.score)))
    better = "" if a.metric.higher_is_better else " (lower is better)"
    difference = f"{gain:+.{decimals}f} {a.metric.difference_unit}".rstrip()
    return f"test {a.metric.label}, B - A: {difference}{better}; the noise of single runs is unknown"


def _print_differences(console: Console, title: str, a: dict[str, Any], b: dict[str, Any], source: str) -> None:
    """Print the entries that differ. source: the file or entry that is missing if a side is empty."""
    for name, side in (("A", a), ("B", b)):
        if not side:
            print(f"{title}: {name} has no {source}")
            return
    found = differences(a, b)
    if not found:
        print(f"{title}: no difference")
        return
    table = Table("", "A", "B", title=title)
    for difference in found:
        table.add_row(*map(cell, difference))
    console.print(table)


def _readable(folder: Path) -> Run:
    run = read_run(folder)
    if run.state == UNREADABLE:
        raise UserError(f"{folder} is not a run folder: {run.detail}")
    return run
