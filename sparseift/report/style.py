"""The style of all figures: the colour-blind safe palette of Okabe and Ito, with distinct markers and lines."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..common.console import plain
from . import escaping
from .rows import USUAL, Row

INK = "#1c2126"
COLOURS = {
    "dense": INK,
    "sparse_wide": "#0072b2",
    "sparse_parallel": "#d55e00",
    "sparse_factorized": "#009e73",
    "sparse_doped": "#cc79a7",
}
SPARE_COLOURS = ("#e69f00", "#56b4e9", "#8a7f00")
MARKERS = "osD^vPX<>*"
LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))

RC: dict[Any, Any] = {
    "svg.hashsalt": "sparseift",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # names of settings and folders may contain dollar signs
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "errorbar.capsize": 3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
}
DATELESS = {"Creator": None, "Date": None, "Format": None, "Type": None}  # makes files reproducible
WIDTH, PANEL, LINE = 6.0, 2.6, 0.18  # inches: width of a figure, height of a panel and of a line of the legend


@dataclass(frozen=True)
class Look:
    """The style of a row in every figure.

    Attributes:
        number: The index of the row in its section. The page finds the artists of a row by it.
    """

    label: str
    colour: str
    marker: str
    line: Any
    number: int

    @property
    def points(self) -> dict[str, Any]:
        """Arguments of plot for points without a line. Those at the limit of an axis are drawn whole."""
        return {"color": self.colour, "marker": self.marker, "ls": "", "clip_on": False}

    @property
    def line_of_points(self) -> dict[str, Any]:
        """Arguments of plot for points on a line."""
        return {"color": self.colour, "marker": self.marker, "ls": self.line, "ms": 3.5, "clip_on": False}

    def tag(self, *artists: Artist, kind: str = "row") -> None:
        """Mark artists as part of this row. kind: "row", or "key" in the legend."""
        for artist in artists:
            artist.set_gid(f"{kind}-{self.number}-{next(_PARTS)}")


_PARTS = count()


def looks(rows: list[Row]) -> dict[Row, Look]:
    """Return the style of each row: a colour for each member, a marker and a line style for each row."""
    others = sorted({row.member for row in rows} - COLOURS.keys())
    colours = COLOURS | {member: SPARE_COLOURS[index % len(SPARE_COLOURS)] for index, member in enumerate(others)}
    found = {}
    for number, row in enumerate(rows):
        line, marker = LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
        found[row] = Look(label(row), colours[row.member], marker, line, number)
    return found


def label(row: Row, sparsity: bool = True) -> str:
    """Return the name of a row in legends, without usual choices."""
    level = f"{row.sparsity:g}" if sparsity and row.sparsity else ""
    choices = [value for group, usual in USUAL.items() if (value := getattr(row, group)) not in (None, usual)]
    return " ".join(part for part in (row.member, level, *choices, row.variant) if part)


def new_figure(panels: int = 1) -> tuple[Figure, list[Any]]:
    """Return a figure with two panels per line."""
    lines = -(-panels // 2)
    figure = Figure(figsize=(WIDTH, PANEL * lines))
    axes = figure.subplots(lines, min(panels, 2), squeeze=False).ravel()
    for unused in axes[panels:]:
        unused.remove()
    return figure, list(axes[:panels])


def legend(figure: Figure, shown: Iterable[Look]) -> None:
    """Add a legend below the panels. The figure grows, the panels keep their size."""
    shown = [replace(look, label=escaping.figure(look.label)) for look in shown]
    columns = max(1, min(3, len(shown), 80 // max(len(look.label) for look in shown)))
    figure.set_figheight(figure.get_figheight() + LINE * (1 + -(-len(shown) // columns)))
    handles = [Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, label=look.label) for look in shown]
    drawn = figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)
    for look, handle, text in zip(shown, drawn.legend_handles, drawn.get_texts(), strict=True):
        look.tag(*filter(None, (handle, text)), kind="key")


def save(figure: Figure, path: Path) -> None:
    """Write `path`.png and `path`.svg with a white background."""
    with matplotlib.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph ")  # names may have characters that the font lacks
        figure.savefig(f"{path}.png", facecolor="white")
        figure.savefig(f"{path}.svg", facecolor="white", metadata=DATELESS)


def inline(svg: str, alt: str) -> str:
    """Return a saved figure as part of a page, without background and in the text colour.

    The artists of a row have an attribute data-row, or data-key in the legend.

    Args:
        svg: The content of the file.
        alt: A description of the figure for screen readers.
    """
    svg = svg[svg.index("<svg") :].replace("fill: #ffffff", "fill: none").replace(INK, "currentColor")
    svg = re.sub(r'id="(row|key)-(\d+)-\d+"', r'data-\1="\2"', svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(plain(alt))}">{rest}'
