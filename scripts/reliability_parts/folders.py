"""The report and compare on run folders that are damaged or made to do harm"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ._hostile import CASES, Case, write_run
from ._processes import Outcome, program
from ._row import Row

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LIMIT = 120.0
"""Seconds after which a program hangs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="TEXT", default="", help="only cases whose names contain this text")


def run(options: argparse.Namespace) -> Iterable[Row]:
    chosen = [
        (kind, name, make) for kind, cases in CASES.items() for name, make in cases.items() if options.only in name
    ]
    csv.field_size_limit(2**31 - 1)
    with ThreadPoolExecutor(options.processes) as pool:
        for rows in pool.map(partial(_rows, options.folder), range(len(chosen)), chosen):
            yield from rows


def _rows(base: Path, number: int, case: tuple[str, str, Case]) -> list[Row]:
    kind, name, make = case
    folder = base / str(number)
    write_run(folder / "runs/good")
    make(folder / "runs/bad")
    report = program(["runs", "--out", "out"], folder, LIMIT, module="sparseift.report")
    compare = program(["runs/good", "runs/bad"], folder, LIMIT, module="sparseift.compare")
    return [
        Row(f"report: {kind}", name, *_judged(report, wrong_in_report(report, folder / "out"))),
        Row(f"compare: {kind}", name, *_judged(compare, wrong_in_compare(compare))),
    ]


def _judged(outcome: Outcome, wrong: Iterator[str]) -> tuple[str, bool, str]:
    if outcome.code is None:
        return "hang", False, ""
    if outcome.traceback:
        return "traceback", False, outcome.last_line
    if found := next(wrong, ""):
        return "wrong", False, found
    return ("refused in one line" if outcome.code else "read"), True, ""


def wrong_in_report(outcome: Outcome, out: Path) -> Iterator[str]:
    """What is wrong with a report on a good and a bad folder."""
    if outcome.code or outcome.err:
        yield f"exit code {outcome.code}: {outcome.err!r}"
        return
    tally = [line for line in outcome.out.splitlines() if re.match(r"\d+ run folders: \d+ finished", line)]
    if len(tally) != 1:
        yield f"the good run is not reported: {outcome.out[-500:]!r}"
    for folder in set(re.findall(r"^  (\S+): ", outcome.out, re.MULTILINE)):
        if sum(line.startswith(f"  {folder}: ") for line in outcome.out.splitlines()) > 1:
            yield f"{folder} has several lines"
    texts = {name: (out / name).read_text() for name in ("report.html", "report.md", "table.csv", "table.tex")}
    for name, text in {"standard output": outcome.out, **texts}.items():
        if found := CONTROL.search(text.replace("\r\n", "\n")):
            yield f"{name} has the character {found[0]!a}"
    if texts["report.html"].count("<script") != 1 or "<img" in texts["report.html"]:
        yield "report.html has HTML of a run"
    if re.search("<script|<img|<b>", _without_code(texts["report.md"])):
        yield "report.md has HTML of a run"
    for cell in (cell for row in csv.reader(texts["table.csv"].splitlines()) for cell in row):
        if re.match(r"\s*[=+@-]", cell) and not _is_number(cell):
            yield f"table.csv has a formula: {cell[:50]}"


def wrong_in_compare(outcome: Outcome) -> Iterator[str]:
    if outcome.code not in (0, 2) or outcome.err.count("\n") != bool(outcome.code):
        yield f"exit code {outcome.code}: {outcome.err!r}"
    if found := CONTROL.search(outcome.out + outcome.err):
        yield f"the output has the character {found[0]!a}"


def _without_code(markdown: str) -> str:
    return re.sub(r"^(```+)bash$.*?^\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False
