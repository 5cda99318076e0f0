"""python -m sparseift.report RUNS... [--out DIR]: tables, figures and a page of any number of runs."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from ..common.console import one_by_one, waiting
from ..common.messages import Arguments, one_line_errors
from ..errors import UserError
from ..runs.read import FINISHED, Run, find_runs
from . import page, tables
from .figures import draw
from .rows import sections
from .style import save

DESCRIPTION = "Tables, figures and a page of any number of runs: finished, failed and half-done ones"


def main() -> None:
    parser = Arguments(prog="python -m sparseift.report", description=DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders that hold runs at any depth")
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="where to write (report)")
    with one_line_errors():
        arguments = parser.parse_args()
        report(arguments.runs, arguments.out)


def report(paths: list[Path], out: Path) -> None:
    """Write report.html, report.md, table.csv, table.tex and figures/ into `out`, and print the tables."""
    runs = find_runs(paths)
    with waiting("comparing"):
        found = [(section, draw(section)) for section in sections(runs)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".making-") as making:  # what stops half-way leaves the old report
            _write(runs, found, Path(making), out)
            _move(Path(making), out)
    except OSError as error:
        raise UserError(f"can't write to {out}: {error.strerror}") from error
    console = Console(width=None if sys.stdout.isatty() else 10_000)  # in a file nothing is cut
    for section, figures in found:
        table = tables.terminal(section, console)
        console.print(table)
        if hidden := tables.left_out(section, table):
            print(f"no room for {', '.join(hidden)}: see table.csv")
        for one in figures:
            if not one.figure:
                print(f"left out: {one.title.lower()}; {one.reason}")
    print(f"{len(runs)} run folders: {page.tally(runs)}")
    for run in runs:
        if run.state != FINISHED or run.detail:
            print(f"  {run.folder}: {run.state}, {run.detail}")
    print(f"open {shlex.quote(str(out / 'report.html'))}")


def _write(runs: list[Run], found: page.Sections, making: Path, out: Path) -> None:
    """Everything into `making`, with the links that are right in `out`."""
    (making / "figures").mkdir()
    drawn = [one for _, figures in found for one in figures if one.figure]
    for one in one_by_one(drawn, "figures"):
        save(one.figure, making / "figures" / one.name)
    texts = {
        "report.html": page.html(runs, found, out, making / "figures"),
        "report.md": page.markdown(runs, found, out),
        "table.csv": tables.csv_text(section for section, _ in found),
        "table.tex": "\n".join(tables.latex(section) for section, _ in found),
    }
    for name, text in texts.items():
        (making / name).write_text(text, encoding="utf-8", errors="replace")  # a folder's name may be no text


def _move(making: Path, out: Path) -> None:
    for path in sorted(making.rglob("*.*")):
        place = out / path.relative_to(making)
        place.parent.mkdir(exist_ok=True)
        os.replace(path, place)


if __name__ == "__main__":
    main()
