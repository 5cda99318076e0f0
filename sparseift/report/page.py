"""report.html and report.md."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..common.console import plain
from ..runs.generated import Continuation
from ..runs.read import FINISHED, STATES, Run
from . import escaping, tables
from .figures import Drawn
from .rows import Section
from .style import inline, label

Sections = list[tuple[Section, list[Drawn]]]


def tally(runs: Iterable[Run]) -> str:
    """Return the number of runs in each state, such as "5 finished, 1 failed"."""
    states = [run.state for run in runs]
    return ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)


def html(runs: list[Run], sections: Sections, folder: Path, figures: Path) -> str:
    """Return a page that needs no other file.

    Args:
        folder: The folder of the page, to which links to runs are relative.
        figures: The folder of the saved figures.
    """

    def svg(drawn: Drawn) -> Markup:
        saved = (figures / f"{drawn.name}.svg").read_text(encoding="utf-8")
        return Markup(inline(saved, f"{drawn.title}. {drawn.caption}"))

    functions: dict[str, Callable] = {"svg": svg, "code": escaping.html_code}
    return _render("page.html.jinja", runs, sections, folder, functions, finalize=escaping.html, autoescape=True)


def markdown(runs: list[Run], sections: Sections, folder: Path) -> str:
    """Return the report as Markdown, with links to the files in the folder `figures`."""
    functions: dict[str, Callable] = {
        "table": tables.markdown,
        "commands": _commands,
        "last_texts": _last_texts,
        "block": partial(escaping.markdown_code, language="text"),
    }
    return _render("page.md.jinja", runs, sections, folder, functions, finalize=escaping.markdown, autoescape=False)


def _commands(section: Section) -> Markup:
    """Return the commands of all runs of a section as a block of code."""
    runs = [run for row in section.rows for run in row.runs]
    missing = "# .hydra/overrides.yaml is missing in"
    return escaping.markdown_code("\n".join(run.command or f"{missing} {plain(str(run.folder))}" for run in runs))


def _last_texts(section: Section) -> list[tuple[Run, Continuation]]:
    """The texts that each run of a section has generated last."""
    runs = [run for row in section.rows for run in row.runs]
    return [(run, text) for run in runs for text in run.texts if text["step"] == run.texts[-1]["step"]]


def _render(
    template: str,
    runs: list[Run],
    sections: Sections,
    folder: Path,
    functions: dict[str, Callable],
    finalize: Callable[[Any], Any],
    autoescape: bool,
) -> str:
    """Fill a template. `finalize` is applied to every value that the template inserts."""
    rows = [row for section, _ in sections for row in section.rows]

    def link(path: Path) -> Markup:
        return Markup(quote(os.fsencode(os.path.relpath(path, folder))))

    filters: dict[str, Any] = {
        "data set": sorted({section.dataset for section, _ in sections}),
        "member": sorted({row.member for row in rows}),
        "sparsifier": sorted({row.sparsifier for row in rows}),
    }
    environment = Environment(
        loader=PackageLoader("sparseift.report", ""),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(
        runs=sorted(runs, key=lambda run: run.state == FINISHED),  # runs that need attention come first
        sections=sections,
        tally=tally(runs),
        filters=filters,
        notes=dict.fromkeys(note for section, _ in sections for note in tables.notes(section).items()),
        columns=tables.columns,
        label=label,
        link=link,
        **functions,
    )
