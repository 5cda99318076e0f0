"""One table in four forms: for the terminal, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..common.console import si
from ..runs.summary import ROWS
from .rows import Row, Section
from .statistics import CONFIDENCE, Difference

NOTES = {
    "settings": "those that most rows do not share.",
    "seeds": "in brackets the number of runs, where it is another; those of one seed count as one, by their mean.",
    "top-1": "test accuracy in percent, mean ± standard deviation over seeds.",
    "to dense": f"difference in points with its {CONFIDENCE:.0%} t interval over seeds: of pairs of one seed where "
    "there are two or more, else by Welch. Pairs leave out other seeds, which are in the means. One seed, or runs "
    "without any spread, give no interval. Bold: the interval leaves out zero; with no effect anywhere this still "
    "happens by chance in one row of twenty. It says nothing of other test images.",
    "to static": "likewise, to the same network with masks that stay as they are: what moving them is worth.",
    "paper": "top-1 of the authors of Sparse-IFT and, in brackets, its distance to their dense network; as reported in "
    "summaries and reviews of the paper, for runs of the same network and as many epochs.",
    "of the budget": "FLOPs of a sample, as a share of those of the dense network of the same settings.",
}
"""What the columns mean, as far as their titles don't say it."""


@dataclass(frozen=True)
class Column:
    """text: the cell of a row; where all are empty, the column is left out. difference: the one that it shows, if any,
    in bold where that is significant."""

    title: str
    text: Callable[[Row], str]
    number: bool = True
    difference: Callable[[Row], Difference | None] = lambda row: None

    def strong(self, row: Row) -> bool:
        difference = self.difference(row)
        return difference is not None and difference.significant


def fact(name: str) -> Callable[[Row], str]:
    """What the summary of a run says; the same for all runs of a row."""
    return lambda row: ROWS[name](row.runs[0].results)


def seeds(row: Row) -> str:
    count = len(row.accuracy)
    return str(count) if len(row.runs) == count else f"{count} ({len(row.runs)} runs)"


def plus_minus(row: Row) -> str:
    return f"{row.mean:.2f}" if row.std is None else f"{row.mean:.2f} ± {row.std:.2f}"


def compared(title: str, difference: Callable[[Row], Difference | None]) -> Column:
    def text(row: Row) -> str:
        if (found := difference(row)) is None:
            return ""
        interval = f" [{found.interval[0]:+.2f}, {found.interval[1]:+.2f}]" if found.interval else ""
        return f"{found.mean:+.2f}{interval}, {found.how}"

    return Column(title, text, difference=difference)


def paper(row: Row) -> str:
    if row.published is None:
        return ""
    gain = row.published.gain
    return f"{row.published.top1:.1f}" + ("" if gain is None else f" ({gain:+.1f})")


COLUMNS = (
    Column("member", lambda row: row.member, number=False),
    Column("sparsity", fact("sparsity"), number=False),
    Column("sparsifier", lambda row: row.sparsifier, number=False),
    Column("settings", lambda row: row.variant, number=False),
    Column("seeds", seeds),
    Column("top-1", plus_minus),
    compared("to dense", lambda row: row.to_dense),
    compared("to static", lambda row: row.to_static),
    Column("paper", paper),
    Column("of the budget", fact("of the budget")),
    Column("training FLOPs", lambda row: si(row.train_flops)),
    Column("stored", fact("stored parameters")),
    Column("active", fact("active parameters")),
)


def columns(section: Section) -> list[Column]:
    """Those with something to say."""
    return [column for column in COLUMNS if any(column.text(row) for row in section.rows)]


def terminal(section: Section, console: Console) -> Table:
    """As many columns as fit, from the left; all of them where the output is not a terminal."""
    shown = columns(section)
    table = _rich(section, shown)
    while console.is_terminal and len(shown) > 1 and _width(table, console) > console.width:
        shown = shown[:-1]
        table = _rich(section, shown)
    return table


def left_out(section: Section, table: Table) -> list[str]:
    """Titles of the columns that a table for the terminal had no room for."""
    there = {column.header for column in table.columns}
    return [column.title for column in columns(section) if column.title not in there]


def _rich(section: Section, shown: list[Column]) -> Table:
    table = Table(title=Text(section.title), box=box.SIMPLE_HEAD)
    for column in shown:
        table.add_column(column.title, justify="right" if column.number else "left", no_wrap=True)
    for row in section.rows:
        table.add_row(*(Text(column.text(row), "bold" if column.strong(row) else "") for column in shown))
    return table


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def cell(text: object) -> str:
    """Text in a table of Markdown."""
    return " ".join(str(text).split()).replace("|", r"\|")


def markdown(section: Section) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    shown = columns(section)
    lines = [line(c.title for c in shown), line("---:" if c.number else "---" for c in shown)]
    for row in section.rows:
        texts = ((cell(column.text(row)), column.strong(row)) for column in shown)
        lines.append(line(f"**{text}**" if strong else text for text, strong in texts))
    return "\n".join(lines) + "\n"


def latex(section: Section) -> str:
    """A table environment for the packages booktabs and graphicx, no wider than the text."""
    shown = columns(section)
    notes = " ".join(f"{column.title}: {NOTES[column.title]}" for column in shown if column.title in NOTES)
    sides = "".join("r" if column.number else "l" for column in shown)
    lines = [
        r"\begin{table}",
        r"  \centering",
        r"  \small",
        rf"  \caption{{{_latex(section.title)}. {_latex(notes)}}}",
        # in one line, as the end of one would be a space before the table
        rf"  \resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\begin{{tabular}}{{{sides}}}",
        r"    \toprule",
        "    " + " & ".join(_latex(column.title) for column in shown) + r" \\",
        r"    \midrule",
    ]
    for row in section.rows:
        texts = ((_latex(column.text(row)), column.strong(row)) for column in shown)
        lines.append("    " + " & ".join(rf"\textbf{{{text}}}" if strong else text for text, strong in texts) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}"]) + "\n"


LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _latex(text: str) -> str:
    text = re.sub(r"[\\{}$&#%_~^]", lambda found: LATEX.get(found[0], "\\" + found[0]), text)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text).replace("±", r"$\pm$")


def csv_text(sections: Iterable[Section]) -> str:
    """All rows of all sections as plain numbers."""
    records = [_record(row) for section in sections for row in section.rows]
    out = StringIO(newline="")
    if records:
        writer = csv.DictWriter(out, records[0])
        writer.writeheader()
        writer.writerows(records)
    return out.getvalue()


def _difference(name: str, found: Difference | None) -> dict[str, object]:
    low, high = (found and found.interval) or (None, None)
    return {name: found and found.mean, f"{name}_low": low, f"{name}_high": high, f"{name}_over": found and found.how}


def _record(row: Row) -> dict[str, object]:
    results = row.runs[0].results
    return {
        "dataset": row.dataset,
        "model": row.model,
        "member": row.member,
        "sparsity": row.sparsity,
        "distribution": row.distribution,
        "sparsifier": row.sparsifier,
        "settings": row.variant,
        "seeds": " ".join(map(str, row.accuracy)),
        "top1_mean": row.mean,
        "top1_std": row.std,
        **_difference("to_dense", row.to_dense),
        **_difference("to_static", row.to_static),
        "flops": results["flops"].get("forward"),
        "flops_ratio": results["flops"]["ratio"],
        "train_flops": row.train_flops,
        "params_stored": results["params"]["stored"],
        "params_active": results["params"]["active"],
        "paper_top1": row.published and row.published.top1,
        "paper_gain": row.published and row.published.gain,
    }
