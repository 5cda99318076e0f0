"""Results as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sparseift.files import replacing

from .harness import Figure, Row


def as_dict(figure: Figure) -> dict[str, Any]:
    return {**asdict(figure), "median": figure.median, "quartiles": figure.spread, "met": figure.met}


def write(results: dict[str, Any], found: list[tuple[Row, list[Figure]]], folder: Path) -> None:
    """bench.json, with every sample, and bench.md."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {row.name: {"title": row.title, "figures": list(map(as_dict, figures))} for row, figures in found}
    for name, text in {
        "bench.json": json.dumps({**results, "rows": rows}, indent=1),
        "bench.md": "\n".join(markdown(results, found)),
    }.items():
        with replacing(folder / name) as partial:
            partial.write_text(text + "\n")


def markdown(results: dict[str, Any], found: list[tuple[Row, list[Figure]]]) -> Iterator[str]:
    yield from ("# Benchmarks", "")
    yield f"Written by `{results['command']}` on {results['date']}. Times are of the {results['clock']} clock."
    if results["load"] > 0.5:
        yield f"The machine was doing other work: a load of {results['load']:.1f} before the first row."
    if results["quick"]:
        yield "With --quick, sizes are so small and rounds so few that the times mean nothing."
    yield ""
    yield "Medians, with the first and third quartile. Ratios compare figures of one row, which take turns."
    yield ""
    for name in ("machine", "versions"):
        yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in results[name].items()) + "\n"
    yield "allocator: " + " ".join(f"{key}={value}" for key, value in results["allocator"].items())
    for row, figures in found:
        yield from ("", f"## {row.name}", "", f"{row.title[0].upper()}{row.title[1:]}.", "")
        yield "| | median | quartiles | ratio | to | bar | faults | |"
        yield "|---|---:|---:|---:|---|---|---:|---|"
        yield from (f"| {' | '.join(cells(figure, results['quick']))} |" for figure in figures)


def cells(figure: Figure, quick: bool) -> list[str]:
    """One line of a table. Bars are not judged with --quick."""
    spread = " - ".join(map(number, figure.spread)) if figure.spread else ""
    median = f"{number(figure.median)} {figure.unit}".strip() if figure.samples else ""
    ratio = "" if figure.ratio is None else number(figure.ratio)
    faults = "" if figure.faults is None or not figure.samples else f"{figure.faults:.0f}"
    return [figure.name, median, spread, ratio, figure.base, "" if quick else bar(figure), faults, figure.note]


def bar(figure: Figure) -> str:
    if figure.met is None:
        return ""
    sides = [f"<= {figure.at_most:g}"] if figure.at_most is not None else []
    sides += [f">= {figure.at_least:g}"] if figure.at_least is not None else []
    return f"{', '.join(sides)}: {'met' if figure.met else 'missed'}"


def number(value: float) -> str:
    """Four digits, without an exponent."""
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.1e}"
