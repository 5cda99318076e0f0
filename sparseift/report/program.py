"""The command line of the report, and the files that it writes."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from ..common.console import one_by_one, plain, waiting
from ..common.messages import Arguments, one_line_errors
from ..errors import UserError
from ..runs.read import FINISHED, Run, find_runs
from . import page, tables
from .figures import draw_all
from .rows import sections
from .style import save

DESCRIPTION = "Summarize runs in tables, figures and a page; unfinished and failed runs are listed with the reason"


def main() -> None:
    parser = Arguments(prog="sparseift report", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, or folder of runs at any depth")
    parser.add_argument(
        "--out", type=Path, default=Path("report"), metavar="DIR", help="output folder (default: report)"
    )
    with one_line_errors():
        arguments = parser.parse_args()
        report(arguments.runs, arguments.out)


def report(paths: list[Path], out: Path) -> None:
    """Write report.html, report.md, table.csv, table.tex and figures/ into `out`, and print the tables.

    If the report cannot be written completely, an older report in `out` stays unchanged.

    Raises:
        UserError: A path contains no runs, or `out` cannot be written.
    """
    runs = find_runs(paths)
    with waiting("tables and figures"):
        found = draw_all(sections(runs))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".making-") as making:
            _write(runs, found, Path(making), out)
            _move(Path(making), out)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    _print(runs, found)
    print(f"open {shlex.quote(str(out / 'report.html'))}")


def _print(runs: list[Run], found: page.Sections) -> None:
    console = Console(width=None if sys.stdout.isatty() else 10_000)  # files show all columns
    for section, _ in found:
        table = tables.terminal(section, console)
        console.print(table)
        if hidden := tables.left_out(section, table):
            print(plain(f"columns that do not fit the terminal: {', '.join(hidden)}; see table.csv"))
    print(f"{len(runs)} run folders: {page.tally(runs)}")
    for run in runs:
        if run.state != FINISHED or run.detail:
            print(plain(f"  {run.folder}: {run.state}, {run.detail}"))


def _write(runs: list[Run], found: page.Sections, making: Path, out: Path) -> None:
    """Write all files into `making`, with links relative to `out`."""
    (making / "figures").mkdir()
    drawn = [(one.figure, one.name) for _, figures in found for one in figures]
    for figure, name in one_by_one(drawn, "figures"):
        save(figure, making / "figures" / name)
    texts = {
        "report.html": page.html(runs, found, out, making / "figures"),
        "report.md": page.markdown(runs, found, out),
        "table.csv": tables.csv_text(section for section, _ in found),
        "table.tex": "\n".join(tables.latex(section) for section, _ in found),
    }
    for name, text in texts.items():
        (making / name).write_text(text, encoding="utf-8", errors="replace")  # names of folders may not be text


def _move(making: Path, out: Path) -> None:
    for path in sorted(making.rglob("*.*")):
        place = out / path.relative_to(making)
        place.parent.mkdir(exist_ok=True)
        os.replace(path, place)
