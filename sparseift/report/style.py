"""One look for all figures: Okabe and Ito's colours, which colour-blind readers tell apart, with markers and lines that
differ too, for print in grey.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .rows import Row

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

RC = {
    "svg.hashsalt": "sparseift",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # names of settings and folders may have dollars
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
DATELESS = {"Creator": None, "Date": None, "Format": None, "Type": None}  # the same figure, the same bytes
WIDTH, PANEL, LINE = 6.0, 2.6, 0.18  # inches: of a figure, and the heights of a panel and a line of the legend


@dataclass(frozen=True)
class Look:
    """Of a row in every figure. number: of the row in its section, by which a page finds its parts."""

    label: str
    colour: str
    marker: str
    line: Any
    number: int

    @property
    def points(self) -> dict[str, Any]:
        """Keywords for points without a line."""
        return {"color": self.colour, "marker": self.marker, "ls": ""}

    @property
    def line_of_points(self) -> dict[str, Any]:
        return {"color": self.colour, "marker": self.marker, "ls": self.line, "ms": 3.5}

    def tag(self, *artists: Artist, kind: str = "row") -> None:
        """Mark parts of a figure as this row's. kind: key, of those in the legend."""
        for artist in artists:
            artist.set_gid(f"{kind}-{self.number}-{next(_PARTS)}")


_PARTS = count()


def looks(rows: list[Row]) -> dict[Row, Look]:
    """A colour a member, a marker and a line a row."""
    others = sorted({row.member for row in rows} - COLOURS.keys())
    colours = COLOURS | {member: SPARE_COLOURS[index % len(SPARE_COLOURS)] for index, member in enumerate(others)}
    found = {}
    for number, row in enumerate(rows):
        line, marker = LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
        found[row] = Look(label(row), colours[row.member], marker, line, number)
    return found


def label(row: Row, sparsity: bool = True) -> str:
    """What a legend calls a row. sparsity: whether it says that."""
    level = f"{row.sparsity:g}" if sparsity and row.sparsity else ""
    parts = [row.member, level, row.distribution or "", row.sparsifier, row.variant]
    return " ".join(part for part in parts if part and part not in ("uniform", "none"))


def new_figure(panels: int = 1) -> tuple[Figure, list[Any]]:
    """A figure of the width of a page, with panels two abreast. `legend` makes it higher."""
    lines = -(-panels // 2)
    figure = Figure(figsize=(WIDTH, PANEL * lines))
    axes = figure.subplots(lines, min(panels, 2), squeeze=False).ravel()
    for unused in axes[panels:]:
        unused.remove()
    return figure, list(axes[:panels])


def legend(figure: Figure, shown: Iterable[Look]) -> None:
    """One for all panels, below them, in room of its own."""
    shown = list(shown)
    columns = max(1, min(3, len(shown), 80 // max(len(look.label) for look in shown)))
    figure.set_figheight(figure.get_figheight() + LINE * (1 + -(-len(shown) // columns)))
    handles = [Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, label=look.label) for look in shown]
    drawn = figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=2.6)
    for look, handle, text in zip(shown, drawn.legend_handles, drawn.get_texts(), strict=True):
        look.tag(handle, text, kind="key")


def save(figure: Figure, path: Path) -> None:
    """As `path`.png and `path`.svg, on white."""
    with matplotlib.rc_context(RC):
        figure.savefig(f"{path}.png", facecolor="white")
        figure.savefig(f"{path}.svg", facecolor="white", metadata=DATELESS)


def inline(svg: str, alt: str) -> str:
    """A saved figure for a page: without background, in the page's own text colour and as wide as there is room, the
    parts of rows marked by data-row, and by data-key in the legend. alt: says what it shows."""
    svg = svg[svg.index("<svg") :].replace("fill: #ffffff", "fill: none").replace(INK, "currentColor")
    svg = re.sub(r'id="(row|key)-(\d+)-\d+"', r'data-\1="\2"', svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(alt)}">{rest}'
