"""The table of a section, for the terminal and as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from ..common.console import cell, si
from ..runs.metric import Metric
from ..runs.summary import COSTS, sparsity
from . import escaping
from .rows import USUAL, Row, Section
from .statistics import CONFIDENCE, Difference

TOLERANCE = 0.001
"""The largest excess over the budget, as a fraction, that is not marked."""

TO_DENSE = (
    "Difference to the dense network in the unit of the metric (percentage points for percentages), with its "
    f"{CONFIDENCE:.0%} confidence interval over seeds: of pairs of runs of the same seed where there are at least "
    "two, otherwise by Welch's t-test. Pairs ignore seeds that only one side has; the means include them. A "
    "single seed, and runs without spread, have no interval. Bold: the interval excludes zero, which happens by "
    "chance in one of twenty rows without an effect. The interval does not cover the choice of the test set."
)
TO_STATIC = "Difference to the same network with static masks, computed in the same way: the effect of mask updates."
PAPER = (
    "The value of the Sparse-IFT paper for the same network and number of epochs, as reported in summaries and "
    "reviews. In brackets, its difference to the dense network of the paper."
)


@dataclass(frozen=True)
class Column:
    """A column of the table. It is omitted if all of its cells are empty.

    Attributes:
        text: Returns the cell of a row.
        note: An explanation of the title.
        difference: Returns the difference that a cell shows, if any. Significant differences are bold.
    """

    title: str
    text: Callable[[Row], str]
    number: bool = True
    note: str = ""
    difference: Callable[[Row], Difference | None] = lambda row: None

    def strong(self, row: Row) -> bool:
        """Whether the cell is bold."""
        difference = self.difference(row)
        return difference is not None and difference.significant

    def better(self, row: Row) -> bool:
        """Whether the difference is an improvement."""
        difference = self.difference(row)
        return difference is not None and row.metric.is_better(difference.mean, 0)


def columns(section: Section) -> list[Column]:
    """Return the columns of a section that have any text."""
    return [column for column in _all_columns(section) if any(column.text(row) for row in section.rows)]


def _all_columns(section: Section) -> Iterable[Column]:
    yield Column("member", lambda row: row.member, number=False)
    yield Column("sparsity", lambda row: sparsity(row.runs[0].results), number=False)
    yield Column("pattern", lambda row: _unless_usual("pattern", row.pattern), number=False)
    yield Column("sparsifier", lambda row: row.sparsifier, number=False)
    yield Column("backend", lambda row: _unless_usual("backend", row.backend), number=False)
    note = "Settings that at most half of the rows share."
    yield Column("settings", lambda row: row.variant, number=False, note=note)
    note = "Number of seeds, with the number of runs in brackets if it differs. Runs of the same seed are averaged."
    yield Column("seeds", _seeds, note=note)
    note = "Runs that were trained or tested on part of the data only, and the option that says so. Not a result."
    yield Column("partial", lambda row: "; ".join(_distinct(row, "partial")), number=False, note=note)
    yield _score(section.metric, section.decimals)
    yield _compared("vs. dense", lambda row: row.to_dense, section.decimals, TO_DENSE)
    yield _compared("vs. static", lambda row: row.to_static, section.decimals, TO_STATIC)
    yield Column("paper", _paper, note=PAPER)
    note = (
        "FLOPs per sample at the end of training, divided by those of the dense network with the same settings. "
        f"More than {1 + TOLERANCE:g} is marked: such a row has an advantage."
    )
    yield Column("relative to budget", _ratio, note=note)
    if len({updates for row in section.rows for updates in _distinct(row, "mask_updates")}) > 1:
        note = "Number of times that the masks changed during training."
        yield Column("mask updates", lambda row: _range(_distinct(row, "mask_updates"), str), note=note)
    yield Column("training FLOPs", lambda row: si(row.train_flops))
    yield Column("stored", _cost("stored parameters"), note="Parameters, masked ones included.")
    yield Column("active", _cost("active parameters"), note="Parameters that are not masked.")


def _unless_usual(group: str, choice: str) -> str:
    return "" if choice == USUAL[group] else choice


def _distinct(row: Row, entry: str) -> list[Any]:
    """The different values of an optional entry of results.json, without null, in ascending order."""
    return sorted({run.results[entry] for run in row.runs if run.results.get(entry) is not None})


def _range(values: Sequence[Any], text: Callable[[Any], str]) -> str:
    """The value, or the least and the largest value."""
    return " to ".join(dict.fromkeys(map(text, (values[0], values[-1])))) if values else ""


def _ratio(row: Row) -> str:
    """The cost relative to the budget. It differs between runs if some of them stopped before the end of pruning."""
    ratios = sorted(run.results["flops"]["ratio"] for run in row.runs)
    over = " (over budget)" if ratios[-1] > 1 + TOLERANCE else ""
    return _range(ratios, lambda ratio: f"{ratio:.4f}") + over


def _cost(name: str) -> Callable[[Row], str]:
    """A cell of the summary. It is the same for all runs of a row."""
    return lambda row: COSTS[name](row.runs[0].results)


def _seeds(row: Row) -> str:
    count = len(row.scores)
    return str(count) if len(row.runs) == count else f"{count} ({len(row.runs)} runs)"


def _score(metric: Metric, decimals: int) -> Column:
    def text(row: Row) -> str:
        return f"{row.mean:.{decimals}f}" if row.std is None else f"{row.mean:.{decimals}f} ± {row.std:.{decimals}f}"

    unit = f" in {metric.unit}" if metric.unit else ""
    note = f"Test {metric.label}{unit}, mean ± standard deviation over seeds."
    if metric.higher_is_better:
        return Column(metric.label, text, note=note)
    return Column(f"{metric.label} ↓", text, note=f"{note} Lower is better.")


def _compared(title: str, difference: Callable[[Row], Difference | None], decimals: int, note: str) -> Column:
    def text(row: Row) -> str:
        if (found := difference(row)) is None:
            return ""
        bounds = ", ".join(f"{bound:+.{decimals}f}" for bound in found.interval or ())
        return f"{found.mean:+.{decimals}f}{f' [{bounds}]' if bounds else ''}, {found.how}"

    return Column(title, text, note=note, difference=difference)


def _paper(row: Row) -> str:
    if row.published is None:
        return ""
    gain = row.published.gain
    return f"{row.published.value:.1f}" + ("" if gain is None else f" ({gain:+.1f})")


def notes(section: Section) -> dict[str, str]:
    """Return the notes of the columns by title."""
    return {column.title: column.note for column in columns(section) if column.note}


def terminal(section: Section, console: Console) -> Table:
    """Return the table with as many columns from the left as fit the terminal, or all if there is none."""
    shown = columns(section)
    table = _rich(section, shown)
    while console.is_terminal and len(shown) > 1 and _width(table, console) > console.width:
        shown = shown[:-1]
        table = _rich(section, shown)
    return table


def left_out(section: Section, table: Table) -> list[str]:
    """Return the titles of the columns that do not fit the terminal."""
    return [column.title for column in columns(section)[len(table.columns) :]]


def _rich(section: Section, shown: list[Column]) -> Table:
    table = Table(title=cell(section.title), box=box.SIMPLE_HEAD)
    for column in shown:
        table.add_column(cell(column.title), justify="right" if column.number else "left", no_wrap=True)
    for row in section.rows:
        table.add_row(*(cell(column.text(row), "bold" if column.strong(row) else "") for column in shown))
    return table


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def markdown(section: Section) -> Markup:
    """Return the table of a section as Markdown."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    shown = columns(section)
    lines = [line(escaping.markdown(c.title) for c in shown), line("---:" if c.number else "---" for c in shown)]
    for row in section.rows:
        texts = ((escaping.markdown(column.text(row)), column.strong(row)) for column in shown)
        lines.append(line(f"**{text}**" if strong else text for text, strong in texts))
    return Markup("\n".join(lines) + "\n")


def latex(section: Section) -> str:
    """Return a LaTeX table, no wider than the text. It needs the packages booktabs and graphicx."""
    shown = columns(section)
    remarks = " ".join(f"{title}: {note}" for title, note in notes(section).items())
    sides = "".join("r" if column.number else "l" for column in shown)
    lines = [
        r"\begin{table}",
        r"  \centering",
        r"  \small",
        rf"  \caption{{{escaping.latex(section.title)}. {escaping.latex(remarks)}}}",
        # on one line: a line break would be a space before the table
        rf"  \resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\begin{{tabular}}{{{sides}}}",
        r"    \toprule",
        "    " + " & ".join(escaping.latex(column.title) for column in shown) + r" \\",
        r"    \midrule",
    ]
    for row in section.rows:
        texts = ((escaping.latex(column.text(row)), column.strong(row)) for column in shown)
        lines.append("    " + " & ".join(rf"\textbf{{{text}}}" if strong else text for text, strong in texts) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}"]) + "\n"


def csv_text(sections: Iterable[Section]) -> str:
    """Return the rows of all sections as unformatted numbers."""
    records = [_record(row) for section in sections for row in section.rows]
    out = StringIO(newline="")
    if records:
        writer = csv.DictWriter(out, records[0])
        writer.writeheader()
        writer.writerows({key: escaping.csv(value) for key, value in record.items()} for record in records)
    return out.getvalue()


def _difference(name: str, found: Difference | None) -> dict[str, object]:
    low, high = (found and found.interval) or (None, None)
    return {name: found and found.mean, f"{name}_low": low, f"{name}_high": high, f"{name}_over": found and found.how}


def _record(row: Row) -> dict[str, object]:
    results = row.runs[0].results
    return {
        "dataset": row.dataset,
        "model": row.model,
        "task": results["task"],
        "member": row.member,
        "sparsity": row.sparsity,
        "distribution": row.distribution,
        "pattern": row.pattern,
        "sparsifier": row.sparsifier,
        "backend": row.backend,
        "settings": row.variant,
        "seeds": " ".join(map(str, row.scores)),
        "metric": row.metric.name,
        "unit": row.metric.unit,
        "higher_is_better": row.metric.higher_is_better,
        "score_mean": row.mean,
        "score_std": row.std,
        **_difference("to_dense", row.to_dense),
        **_difference("to_static", row.to_static),
        "partial": "; ".join(_distinct(row, "partial")),
        "mask_updates": _range(_distinct(row, "mask_updates"), str),
        "flops": results["flops"].get("forward"),
        "flops_ratio": results["flops"]["ratio"],
        "train_flops": row.train_flops,
        "params_stored": results["params"]["stored"],
        "params_active": results["params"]["active"],
        "paper_score": row.published and row.published.value,
        "paper_gain": row.published and row.published.gain,
    }
