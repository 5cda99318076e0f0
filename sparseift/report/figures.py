"""The figures of a section."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..runs.metric import PERCENT, Metric
from . import escaping
from .rows import Row, Section
from .series import exploration_columns, gap_columns, label_of, mean_series, validation_scores
from .style import RC, Look, label, legend, looks, new_figure

WIDEST_OFFSET = 0.05
"""Largest offset of a point from its sparsity, as a fraction of the range of the axis."""

OFFSET_STEP = 0.015
"""Largest distance between points of the same sparsity, as a fraction of the range of the axis."""

LEAST_RANGE = 1.0
"""Minimum range of an axis of percentages, so that small differences look small."""

MOST_PANELS = 12
"""The largest number of panels of a figure."""

LONGEST_STEM = 120
"""The largest number of bytes that the name of a file has for the names of a section."""


@dataclass(frozen=True)
class Drawn:
    """A figure. `name` is the stem of its files."""

    name: str
    title: str
    caption: str
    figure: Figure


def draw_all(sections: Iterable[Section]) -> list[tuple[Section, list[Drawn]]]:
    """Draw all figures of all sections."""
    found: dict[str, tuple[Section, list[Drawn]]] = {}
    for section in sections:
        stem = _stem(section)
        while stem in found:  # other names may have the same letters and digits
            stem += "_"
        found[stem] = section, draw(section, stem)
    return list(found.values())


def _stem(section: Section) -> str:
    """Return how the names of the files of a section begin."""
    name = "_".join(part for part in (section.dataset, section.model, section.details) if part)
    return re.sub(r"[^\w.-]", "_", name).encode()[:LONGEST_STEM].decode(errors="ignore")


def draw(section: Section, stem: str = "") -> list[Drawn]:
    """Draw the figures of a section for which there is data.

    Args:
        stem: How the names of their files begin, made from the section by default.
    """
    drawn = []
    for kind in FIGURES:
        with matplotlib.rc_context(RC):
            figure = kind.function(section)
        if figure is None:
            continue
        title, caption = (_capital(text.format(metric=section.metric.label)) for text in (kind.title, kind.caption))
        drawn.append(Drawn(f"{stem or _stem(section)}_{kind.name}", title, caption, figure))
    return drawn


def score_by_flops(section: Section) -> Figure:
    series = {row: validation_scores(row) for row in section.rows}
    figure, panels = new_figure(2 if any(series.values()) else 1)
    *during, after = panels
    style = looks(section.rows)
    for row in section.rows:
        look = style[row]
        look.tag(*after.plot(row.train_flops, row.mean, **look.points, mfc="none"))  # hollow, to show points behind it
        for axes in during:
            flops, scores = zip(*series[row], strict=True) if series[row] else ((), ())
            look.tag(*axes.plot(flops, scores, color=look.colour, ls=look.line))
    for axes in during:
        axes.set(title="validation set, during training", ylabel=_axis(section.metric))
    after.set(title="test set, after training", ylabel=_axis(section.metric))
    _set_least_range(after, section.metric)
    for axes in panels:
        axes.set(xlabel="training FLOPs")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(EngFormatter())
    legend(figure, style.values())
    return figure


def score_by_sparsity(section: Section) -> Figure | None:
    series: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in section.rows:
        if row.sparsity:
            series[(*row.method, row.variant)].append(row)
    if not series:
        return None
    figure, (axes,) = new_figure()
    style = looks(section.rows)
    dense = [row for row in section.rows if row.is_dense]
    for row in dense:
        _draw_dense(axes, row, style[row], compared=any(other.dense is row for other in section.rows))
    levels = [row.sparsity for row in section.rows if row.sparsity]
    for points, offset in zip(series.values(), _offsets(len(series), max(levels) - min(levels)), strict=True):
        _draw_series(axes, points, offset, style)
    axes.set(xlabel="sparsity (points offset for legibility)", ylabel=_axis(section.metric, "test "))
    _set_least_range(axes, section.metric)
    named = [replace(style[points[0]], label=label(points[0], sparsity=False)) for points in series.values()]
    legend(figure, [*(style[row] for row in dense), *named])
    return figure


def density_by_depth(section: Section) -> Figure | None:
    layers = {row: row.runs[0].results.get("layers") or [] for row in section.rows}
    shown = [row for row in section.rows if any(layer["active"] < layer["stored"] for layer in layers[row])]
    if not shown:
        return None
    figure, (axes,) = new_figure()
    style = looks(section.rows)
    for row in shown:
        densities = [layer["active"] / layer["stored"] for layer in layers[row]]
        depths = [(index + 0.5) / len(densities) for index in range(len(densities))]
        masked = [(depth, density) for depth, density in zip(depths, densities, strict=True) if density < 1]
        look = style[row].line_of_points | {"markevery": max(1, len(masked) // 20)}
        style[row].tag(*axes.plot(*zip(*masked, strict=True), **look))
    axes.set(xlabel="relative depth of the layer", ylabel="density", xlim=(0, 1))
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])  # keeps a line at the edge visible
    legend(figure, (style[row] for row in shown))
    return figure


def exploration(section: Section) -> Figure | None:
    shown = [row for row in section.rows if any(run.series("masks/replaced") for run in row.runs)]
    if not shown:
        return None
    columns = exploration_columns(shown)[:MOST_PANELS]
    figure, panels = new_figure(len(columns))
    style = looks(section.rows)
    for axes, column in zip(panels, columns, strict=True):
        for row in shown:
            series = mean_series(row, column)
            times = [(step + 1) / row.runs[0].results["steps"] for step in series]
            look = style[row].line_of_points | {"markevery": max(1, len(times) // 8)}
            style[row].tag(*axes.plot(times, list(series.values()), **look))
        axes.set(title=escaping.figure(label_of(column)), xlabel="fraction of training steps", xlim=(0, 1))
        axes.set_ylim(bottom=0)
    legend(figure, (style[row] for row in shown))
    return figure


def score_by_spectral_gap(section: Section) -> Figure | None:
    columns = gap_columns(section.rows)[:MOST_PANELS]
    if not columns:
        return None
    figure, panels = new_figure(len(columns))
    style = looks(section.rows)
    shown = [row for row in section.rows if any(run.series(column) for run in row.runs for column in columns)]
    for axes, column in zip(panels, columns, strict=True):
        for row in shown:
            measured = [(series[max(series)], run.score) for run in row.runs if (series := run.series(column))]
            gaps, scores = zip(*measured, strict=True) if measured else ((), ())
            style[row].tag(*axes.plot(gaps, scores, **style[row].points))
        axes.set(xlabel=escaping.figure(label_of(column)), ylabel=_axis(section.metric, "test "))
    legend(figure, (style[row] for row in shown))
    return figure


class Kind(NamedTuple):
    """A kind of figure. Its texts contain "{metric}" for the label of the primary metric.

    `function` returns None if the runs of a section have no data for it.
    """

    name: str
    title: str
    caption: str
    function: Callable[[Section], Figure | None]


FIGURES = (
    Kind(
        "score_flops",
        "{metric} against training FLOPs",
        "{metric} against the FLOPs spent on training, mean over seeds: on the validation set during training, and on "
        "the test set after training.",
        score_by_flops,
    ),
    Kind(
        "score_sparsity",
        "{metric} against sparsity",
        "Test {metric} against sparsity, mean and standard deviation over seeds. The band is the mean and standard "
        "deviation of the dense network.",
        score_by_sparsity,
    ),
    Kind(
        "density_depth",
        "Density by depth",
        "Density of each masked layer at the end of training, by position in execution order: 0 is the first layer of "
        "the network, 1 the last.",
        density_by_depth,
    ),
    Kind(
        "exploration",
        "Mask exploration",
        "Changes of the masks during training, mean over seeds. Static masks are omitted.",
        exploration,
    ),
    Kind(
        "spectral_gap",
        "Spectral gap and {metric}",
        "Test {metric} of each run against the spectral gaps at their last measurement, mean over masked layers.",
        score_by_spectral_gap,
    ),
)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _axis(metric: Metric, prefix: str = "") -> str:
    """Return the label of an axis for values of the metric."""
    notes = ", ".join(part for part in (metric.unit, "" if metric.higher_is_better else "lower is better") if part)
    return escaping.figure(f"{prefix}{metric.label}{f' ({notes})' if notes else ''}")


def _draw_dense(axes: Axes, row: Row, look: Look, compared: bool) -> None:
    """Draw a line at the mean of a dense network, with a band of the standard deviation if `compared`."""
    spread = row.std or 0
    look.tag(axes.axhline(row.mean, color=look.colour, ls=look.line, lw=1.2))
    if compared:
        look.tag(axes.axhspan(row.mean - spread, row.mean + spread, color=look.colour, alpha=0.12, lw=0))


def _draw_series(axes: Axes, points: list[Row], offset: float, style: dict[Row, Look]) -> None:
    """Draw a method at several sparsities: points with error bars, connected by a line."""
    look = style[points[0]]
    places = [row.sparsity + offset for row in points]
    look.tag(*axes.plot(places, [row.mean for row in points], color=look.colour, ls=look.line, lw=1))
    for place, row in zip(places, points, strict=True):
        line, caps, stems = axes.errorbar(place, row.mean, yerr=row.std, **look.points)
        style[row].tag(line, *caps, *stems)


def _offsets(count: int, length: float) -> list[float]:
    """Return offsets that separate `count` points with the same place on an axis of this length."""
    step = min(OFFSET_STEP, 2 * WIDEST_OFFSET / max(1, count - 1)) * length
    return [step * (index - (count - 1) / 2) for index in range(count)]


def _set_least_range(axes: Axes, metric: Metric) -> None:
    low, high = axes.get_ylim()
    if metric.unit == PERCENT and high - low < LEAST_RANGE:
        axes.set_ylim((low + high - LEAST_RANGE) / 2, (low + high + LEAST_RANGE) / 2)
