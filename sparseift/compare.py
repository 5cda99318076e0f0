"""python -m sparseift.compare A B: what differs between two runs: config, plan and result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .common.console import si
from .common.messages import Arguments, one_line_errors
from .errors import UserError
from .runs.read import FINISHED, UNREADABLE, Run, read_run
from .runs.summary import print_summary


def main() -> None:
    parser = Arguments(prog="python -m sparseift.compare", description="What differs between two runs")
    for name in "AB":
        parser.add_argument(name, type=Path, help="run folder")
    with one_line_errors():
        arguments = parser.parse_args()
        compare(arguments.A, arguments.B)


def compare(a: Path, b: Path) -> None:
    """Print how two runs differ: settings first, then what each layer has, then what came of it."""
    pair = _readable(a), _readable(b)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for name, run in zip("AB", pair, strict=True):
        print(f"{name}: {run.folder}, {run.state}{', ' if run.detail else ''}{run.detail}")
    _print(console, "config", [run.config for run in pair], ".hydra/config.yaml")
    if all(run.state == FINISHED for run in pair):
        layers = [{layer["name"]: _layer(layer) for layer in run.results.get("layers", [])} for run in pair]
        _print(console, "layers: active of stored weights, FLOPs of a sample", layers, "layers in results.json")
        print_summary([run.results for run in pair])
        sums = [[run.results.get(name) for name in ("weights_sha256", "masks_sha256")] for run in pair]
        if sums[0] == sums[1] and sums[0][0]:
            print("weights and masks: the same to the bit")
        else:
            gain = pair[1].accuracy - pair[0].accuracy
            print(f"test top-1, B - A: {gain:+.2f} points; one run each, so nothing is known of the noise")


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Keys whose values are not the same, with both values; '-' where one has no such key."""
    return [(key, str(a.get(key, "-")), str(b.get(key, "-"))) for key in {**a, **b} if a.get(key, ()) != b.get(key, ())]


def _layer(layer: dict[str, Any]) -> str:
    density = layer["active"] / layer["stored"]
    return f"{layer['active']:,} of {layer['stored']:,} ({density:.4f}), {si(layer['flops'])}"


def _print(console: Console, title: str, sides: list[dict[str, Any]], source: str) -> None:
    """What differs between two sides. source: where they are read, in case that there is nothing."""
    for name, side in zip("AB", sides, strict=True):
        if not side:
            print(f"{title}: {name} has no {source}")
            return
    found = differences(*sides)
    if not found:
        print(f"{title}: no difference")
        return
    table = Table("", "A", "B", title=title)
    for difference in found:
        table.add_row(*map(Text, difference))
    console.print(table)


def _readable(folder: Path) -> Run:
    run = read_run(folder)
    if run.state == UNREADABLE:
        raise UserError(f"{folder} is not a run folder: {run.detail}")
    return run


if __name__ == "__main__":
    main()
