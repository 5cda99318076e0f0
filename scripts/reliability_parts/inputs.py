"""Mistaken and correct command lines: each is refused in one line before the run writes anything, or trains."""

from __future__ import annotations

import argparse
import json
import math
import shlex
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ._processes import QUICK, Outcome, program
from ._row import Row

TABLE = Path(__file__).with_name("inputs.txt")

KEPT = {"notes.txt": "mine", "runs/old/checkpoints/last.ckpt": "an earlier run"}
"""Files that lie in the folder before each run. No run may touch them."""

PATIENCE = 60.0
"""Seconds within which a command line must be refused, on a busy machine."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", help="kinds and command lines that contain this text")
    parser.add_argument("--every", type=int, default=1, help="take one of as many command lines (%(default)s)")


def run(options: argparse.Namespace) -> Iterable[Row]:
    chosen = [case for case in cases() if options.only in f"{case[0]}: {case[1]}"][:: options.every]
    program(["--help"], options.folder)  # the time of the first program has that of the imports
    folders = [options.folder / str(number) for number in range(len(chosen))]
    with ThreadPoolExecutor(options.processes) as pool:
        yield from pool.map(lambda case, folder: row(*case, folder), chosen, folders)


def cases() -> Iterator[tuple[str, str, str | None]]:
    """Yield kind, overrides and the expected part of the line, None for success, of every case in TABLE."""
    kind = ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("# "):
            kind = line.removeprefix("# ")
        elif line and not line.startswith(";"):
            overrides, _, expected = line.partition(" => ")
            yield kind, overrides, expected or None


def row(kind: str, overrides: str, expected: str | None, folder: Path) -> Row:
    for name, text in KEPT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    outcome = program(with_defaults(shlex.split(overrides)), folder)
    wrong = list(refusal(outcome, expected, folder) if expected else success(outcome, folder))
    wrong += [f"{name} has changed" for name, text in KEPT.items() if (folder / name).read_text() != text]
    ending = "refused" if expected else "trained"
    return Row(kind, overrides, "wrong" if wrong else ending, not wrong, "; ".join([*wrong, outcome.last_line]))


def with_defaults(overrides: list[str]) -> list[str]:
    """Return the overrides, after those of a quick run that they do not replace. Its masks are updated."""
    changed = {override.lstrip("+~").partition("=")[0] for override in overrides}
    defaults = [*QUICK, "recipe.epochs=1"]
    if "member=dense" not in overrides and not any(key.startswith("sparsifier") for key in changed):
        defaults.append("sparsifier.update_interval=3")
    return [default for default in defaults if default.partition("=")[0] not in changed] + overrides


def refusal(outcome: Outcome, expected: str, folder: Path) -> Iterable[str]:
    """Yield what is wrong with the end of a run that must be refused."""
    if outcome.code != 2:
        yield f"exit code {outcome.code}"
    if outcome.err.count("\n") != 1 or not outcome.err.startswith("sparseift: "):
        yield f"{outcome.err.count(chr(10))} lines of errors"
    if outcome.out:
        yield "output"
    if expected not in outcome.err:
        yield f"expected: {expected}"
    if outcome.seconds > PATIENCE:
        yield f"{outcome.seconds:.0f} s"
    if left := {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - KEPT.keys():
        yield f"has written {', '.join(sorted(left))}"


def success(outcome: Outcome, folder: Path) -> Iterable[str]:
    """Yield what is wrong with the end of a run that must succeed."""
    if outcome.code != 0 or outcome.traceback:
        yield f"exit code {outcome.code}"
    found = [path for name in ("runs", "multirun") for path in (folder / name).rglob("results.json")]
    if not found:
        yield "no results"
    for path in found:
        if not all(map(math.isfinite, numbers(json.loads(path.read_text())))):
            yield "results that are not finite"


def numbers(content: Any) -> Iterable[float]:
    """Yield all numbers in the content of a JSON file."""
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from numbers(value)
    elif isinstance(content, int | float):
        yield content
