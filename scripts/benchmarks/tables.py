"""Writes results as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparseift.common.files import replacing

from .harness import Figure

BUSY = 0.5


def as_dict(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), "median": figure.median, "quartiles": figure.spread, "met": figure.met}


def earlier(path: Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of an existing bench.json if it has the same setting, which includes the machine."""
    if not path.exists():
        return {}
    saved = json.loads(path.read_text())
    rows = saved.pop("rows")
    return rows if saved == json.loads(json.dumps(setting)) else {}


def write(setting: dict[str, Any], rows: dict[str, Any], folder: Path) -> None:
    """Write bench.json, with all samples, and bench.md."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "bench.json": json.dumps({**setting, "rows": rows}, indent=1),
        "bench.md": "\n".join(markdown(setting, rows)),
    }.items():
        with replacing(folder / name) as partial:
            partial.write_text(text + "\n")


def markdown(setting: dict[str, Any], rows: dict[str, Any]) -> Iterator[str]:
    yield from ("# Benchmarks", "")
    if setting["quick"]:
        yield from ("Run with --quick: sizes and rounds are so small that the times mean nothing.", "")
    yield "Values are medians with first and third quartile. The figures of a ratio were timed in turns."
    yield ""
    for name in ("machine", "allocator"):
        yield f"- {name}: {listed(setting[name])}"
    for name, row in rows.items():
        yield from ("", f"## {name}", "", f"{row['title'][0].upper()}{row['title'][1:]}.", "")
        clock = {"wall": "Wall time", "cpu": "Processor time of all threads"}[row["clock"]]
        busy = f" The load of the machine was {row['load']:.1f} at the start." if row["load"] > BUSY else ""
        yield f"{clock} of `{row['command']}` on {row['date']}, with {listed(row['versions'])}.{busy}"
        yield ""
        yield "| | median | quartiles | ratio | relative to | limit | page faults | note |"
        yield "|---|---:|---:|---:|---|---|---:|---|"
        yield from (f"| {' | '.join(cells(figure, setting['quick']))} |" for figure in row["figures"])


def listed(names: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in names.items())


def cells(figure: dict[str, Any], quick: bool) -> list[str]:
    """Return the cells of one line of a table. With --quick, limits are not checked."""
    median = f"{number(figure['median'])} {figure['unit']}".strip() if figure["samples"] else ""
    spread = " - ".join(map(number, figure["quartiles"])) if figure["quartiles"] else ""
    ratio = "" if figure["ratio"] is None else number(figure["ratio"])
    within = "" if quick else limit(figure)
    faults = "" if figure["faults"] is None else f"{figure['faults']:.0f}"
    return [figure["name"], median, spread, ratio, figure["base"], within, faults, figure["note"]]


def limit(figure: dict[str, Any]) -> str:
    if figure["met"] is None:
        return ""
    sides = [f"<= {figure['at_most']:.3g}"] if figure["at_most"] is not None else []
    sides += [f">= {figure['at_least']:.6g}"] if figure["at_least"] is not None else []
    return f"{', '.join(sides)}: {'met' if figure['met'] else 'missed'}"


def number(value: float) -> str:
    """Format a number with four significant digits, without an exponent if that is short."""
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.1e}"
