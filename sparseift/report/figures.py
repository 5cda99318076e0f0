"""The figures of a section: what there is data for is drawn, the rest is left out for a reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from .rows import Row, Section
from .style import RC, label, legend, looks, new_figure

TOPOLOGY = re.compile(r"masks/[^/]+$")  # of the whole network; masks/.../LAYER is of a layer
NOT_EXPLORATION = {"masks/density", "masks/drop_fraction"}
SPOKEN = {
    "masks/replaced": "share of the mask replaced at an update",
    "masks/itop": "share of weights ever active (ITOP)",
    "masks/constraint": "share of weights always active",
    "masks/hamming": "share of weights not as in the first mask",
    "masks/dead_channels": "share of output channels without weights",
    "masks/ramanujan_gap": "Ramanujan gap",
    "masks/ramanujan_gap_iterative": "Ramanujan gap, iterative",
    "masks/spectral_gap": "weighted spectral gap",
    "masks/spectral_gap_iterative": "weighted spectral gap, iterative",
}

ASIDE = 0.05
"""How far at most points of one sparsity are set aside, as a share of the range."""

STEP = 0.015
"""How far they are set apart at most, likewise."""

POINT = 1.0
"""Least range of an axis of accuracies, in percent: smaller differences are to look small."""


class LeftOut(ValueError):
    """Why a figure can't be drawn."""


@dataclass(frozen=True)
class Drawn:
    """A figure, or why there is none. name: of its files."""

    name: str
    title: str
    caption: str
    figure: Figure | None
    reason: str = ""


def draw(section: Section) -> list[Drawn]:
    """All figures of a section."""
    drawn = []
    for name, (title, caption, function) in FIGURES.items():
        try:
            with matplotlib.rc_context(RC):
                figure, reason = function(section.rows), ""
        except LeftOut as error:
            figure, reason = None, str(error)
        file = re.sub(r"[^\w.-]", "_", f"{section.dataset}_{section.model}_{name}")
        drawn.append(Drawn(file, title, caption, figure, reason))
    return drawn


def accuracy_against_flops(rows: list[Row]) -> Figure:
    courses = {row: _course(row) for row in rows}
    figure, panels = new_figure(2 if any(courses.values()) else 1)
    *on_the_way, at_the_end = panels
    style = looks(rows)
    for row in rows:
        look = style[row]
        look.tag(*at_the_end.plot(row.train_flops, row.mean, **look.points, mfc="none"))  # equal ones show through
        for axes in on_the_way:
            flops, accuracies = zip(*courses[row], strict=True) if courses[row] else ((), ())
            look.tag(*axes.plot(flops, accuracies, color=look.colour, ls=look.line))
    for axes in on_the_way:
        axes.set(title="while it trains: validation, mean of seeds", ylabel="top-1 (%)", xlabel="training FLOPs")
        axes.set_xlim(left=0)
    at_the_end.set(title="at the end: test, mean of seeds", ylabel="top-1 (%)", xlabel="training FLOPs")
    at_the_end.set_xlim(left=0)
    _not_too_close(at_the_end)
    for axes in panels:
        axes.xaxis.set_major_formatter(EngFormatter())
    legend(figure, style.values())
    return figure


def accuracy_against_sparsity(rows: list[Row]) -> Figure:
    series: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row.sparsity:
            series[(*row.method, row.variant)].append(row)
    if not series:
        raise LeftOut("no sparse run has finished")
    figure, (axes,) = new_figure()
    style = looks(rows)
    dense = [row for row in rows if row.is_dense]
    for row in dense:
        look, spread = style[row], row.std or 0
        look.tag(axes.axhline(row.mean, color=look.colour, ls=look.line, lw=1.2))
        if any(other.dense is row for other in rows):
            look.tag(axes.axhspan(row.mean - spread, row.mean + spread, color=look.colour, alpha=0.12, lw=0))
    levels = [row.sparsity for row in rows if row.sparsity]
    for points, aside in zip(series.values(), _asides(len(series), max(levels) - min(levels)), strict=True):
        look = style[points[0]]
        places = [row.sparsity + aside for row in points]
        look.tag(*axes.plot(places, [row.mean for row in points], color=look.colour, ls=look.line, lw=1))
        for place, row in zip(places, points, strict=True):
            style[row].tag(*_parts(axes.errorbar(place, row.mean, yerr=row.std, **look.points)))
    axes.set(xlabel="sparsity; points of one are set a little aside", ylabel="test top-1 (%)")
    _not_too_close(axes)
    named = [replace(style[points[0]], label=label(points[0], sparsity=False)) for points in series.values()]
    legend(figure, [*(style[row] for row in dense), *named])
    return figure


def density_by_depth(rows: list[Row]) -> Figure:
    layers = {row: row.runs[0].results.get("layers") or [] for row in rows}
    shown = [row for row in rows if any(layer["active"] < layer["stored"] for layer in layers[row])]
    if not shown:
        raise LeftOut("no finished run that masks anything says in `layers` of its results.json what each layer has")
    figure, (axes,) = new_figure()
    style = looks(rows)
    for row in shown:
        densities = [layer["active"] / layer["stored"] for layer in layers[row]]
        places = [(index + 0.5) / len(densities) for index in range(len(densities))]
        masked = [(place, density) for place, density in zip(places, densities, strict=True) if density < 1]
        look = style[row].line_of_points | {"markevery": max(1, len(masked) // 20)}
        style[row].tag(*axes.plot(*zip(*masked, strict=True), **look))
    axes.set(xlabel="depth: layers in order of execution, from first (0) to last (1)", ylabel="density", xlim=(0, 1))
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])  # a line at the edge would be cut
    legend(figure, (style[row] for row in shown))
    return figure


def exploration_against_time(rows: list[Row]) -> Figure:
    shown = [row for row in rows if any(run.series("masks/replaced") for run in row.runs)]
    columns = [column for column in _columns(shown) if column not in NOT_EXPLORATION and "gap" not in column]
    if not shown:
        raise LeftOut("no finished run has logged an update of its masks in metrics.csv")
    figure, panels = new_figure(len(columns))
    style = looks(rows)
    for axes, column in zip(panels, columns, strict=True):
        for row in shown:
            course = _mean_course(run.series(column) for run in row.runs)
            times = [(step + 1) / row.runs[0].results["steps"] for step in course]
            look = style[row].line_of_points | {"markevery": max(1, len(times) // 8)}
            style[row].tag(*axes.plot(times, list(course.values()), **look))
        axes.set(title=_spoken(column), xlabel="share of the training", xlim=(0, 1))
        axes.set_ylim(bottom=0)
    legend(figure, (style[row] for row in shown))
    return figure


def spectral_gap_against_accuracy(rows: list[Row]) -> Figure:
    columns = [column for column in _columns(rows) if "gap" in column]
    if not columns:
        raise LeftOut("no finished run has logged a spectral gap (masks/...gap) in metrics.csv")
    figure, panels = new_figure(len(columns))
    style = looks(rows)
    shown = dict.fromkeys(row for row in rows if any(run.series(column) for run in row.runs for column in columns))
    for axes, column in zip(panels, columns, strict=True):
        for row in shown:
            measured = [(run.series(column), run) for run in row.runs if run.series(column)]
            gaps = [series[max(series)] for series, _ in measured]
            style[row].tag(*axes.plot(gaps, [run.accuracy for _, run in measured], **style[row].points))
        axes.set(xlabel=_spoken(column), ylabel="test top-1 (%)")
    legend(figure, (style[row] for row in shown))
    return figure


FIGURES: dict[str, tuple[str, str, Callable[[list[Row]], Figure]]] = {
    "accuracy_flops": (
        "Accuracy against training FLOPs",
        "Top-1 against the FLOPs spent on training: during training on the validation images, and after it on the test "
        "images.",
        accuracy_against_flops,
    ),
    "accuracy_sparsity": (
        "Accuracy against sparsity",
        "Test top-1, mean and standard deviation over seeds, against sparsity, for each member and sparsifier; the "
        "band is the dense network, plus and minus its standard deviation.",
        accuracy_against_sparsity,
    ),
    "density_depth": (
        "Density by depth",
        "Share of active weights at the end of training, of the layers that have masked ones, from the first layer of "
        "the network to the last.",
        density_by_depth,
    ),
    "exploration": (
        "Exploration",
        "How the masks moved while the network trained, mean over seeds. Masks that stay as they are are left out.",
        exploration_against_time,
    ),
    "spectral_gap": (
        "Spectral gap and accuracy",
        "Test top-1 of each run against the spectral gaps of its masked layers, in their mean, when last measured.",
        spectral_gap_against_accuracy,
    ),
}


def _asides(count: int, length: float) -> list[float]:
    """How far to set each of `count` points aside on an axis, so that equal ones don't hide each other."""
    step = min(STEP, 2 * ASIDE / max(1, count - 1)) * length
    return [step * (index - (count - 1) / 2) for index in range(count)]


def _not_too_close(axes: Axes) -> None:
    low, high = axes.get_ylim()
    if high - low < POINT:
        axes.set_ylim((low + high - POINT) / 2, (low + high + POINT) / 2)


def _course(row: Row) -> list[tuple[float, float]]:
    """Training FLOPs and validation top-1 in percent at the ends of epochs, in the mean of the runs."""
    flops = _mean_course(run.series("train/flops") for run in row.runs)
    accuracy = _mean_course(run.series("val/acc1") for run in row.runs)
    return [(flops[step], 100 * accuracy[step]) for step in flops if step in accuracy]


def _mean_course(series: Iterable[dict[int, float]]) -> dict[int, float]:
    """The mean at the steps that all have that have any."""
    logged = [one for one in series if one]
    steps = sorted(set.intersection(*(set(one) for one in logged))) if logged else []
    return {step: mean(one[step] for one in logged) for step in steps}


def _columns(rows: list[Row]) -> list[str]:
    """Columns of metrics.csv about the masks of the whole network, as far as a finished run has them."""
    found = {key for row in rows for run in row.runs for line in run.metrics for key in line if TOPOLOGY.match(key)}
    return sorted(found, key=lambda column: (column not in SPOKEN, column))


def _spoken(column: str) -> str:
    return SPOKEN.get(column, column.removeprefix("masks/").replace("_", " "))


def _parts(bars: Any) -> list[Any]:
    """The artists of error bars."""
    line, caps, stems = bars
    return [line, *caps, *stems]
