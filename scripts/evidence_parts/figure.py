"""The figures of the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseift.report.statistics import Difference
from sparseift.report.style import COLOURS, INK, MARKERS, RC, SPARE_COLOURS

from .outcomes import Outcomes, gain

STRIP = (0.35, 0.85)
"""Where the rows that cost what the dense network costs are drawn on the logarithmic axis of FLOPs."""

WIDTH, HEIGHT = 9.0, 4.6  # inches

Times = dict[str, dict[str, dict[str, list[float]]]]
"""Median and quartiles of the time of a step relative to the dense network, by part, row and backend."""


def gains(parts: Sequence[Outcomes], labels: dict[str, str]) -> Figure:
    """Draw the gains over the dense network, one panel for each part.

    Args:
        labels: The rows to draw, by name, with their labels.
    """
    with matplotlib.rc_context(RC):
        figure, panels = _panels(parts)
        for axes, part in panels:
            _over_flops(axes, part, {row: label for row, label in labels.items() if row in part.runs})
    return figure


def gains_in_time(parts: Sequence[Outcomes], labels: dict[str, str], times: Times) -> Figure:
    """Draw the gains over the dense network, over the time of a training step with either backend."""
    with matplotlib.rc_context(RC):
        figure, panels = _panels(parts)
        for axes, part in panels:
            drawn = {row: label for row, label in labels.items() if row in part.runs}
            _over_time(axes, part, drawn, times[part.part.name])
    return figure


def _panels(parts: Sequence[Outcomes]) -> tuple[Figure, Iterator[tuple[Axes, Outcomes]]]:
    figure = Figure(figsize=(WIDTH, HEIGHT))
    return figure, zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True)


def _over_flops(axes: Axes, part: Outcomes, labels: dict[str, str]) -> None:
    _dense(axes, part, [part.cost(larger, "train_total") for larger, _ in part.part.yardsticks])
    low, high = STRIP
    for index, (row, label) in enumerate(labels.items()):
        place = low * (high / low) ** (index / max(1, len(labels) - 1))
        _points(axes, [place], [gain(part, row, "dense")], **_look(part, row, index), label=label)
    axes.axvspan(low * 0.9, 1.0, color=INK, alpha=0.05, lw=0)
    _finish(axes, part, "training FLOPs relative to the dense network; grey: about 1x")
    axes.set_xlim(low * 0.9, 4.6)


def _over_time(axes: Axes, part: Outcomes, labels: dict[str, str], times: dict[str, dict[str, list[float]]]) -> None:
    _dense(axes, part, [times[larger]["masked"][0] for larger, _ in part.part.yardsticks])
    for index, (row, label) in enumerate(labels.items()):
        found = gain(part, row, "dense")
        if "sparse" in times[row]:
            _points(axes, [times[row]["sparse"][0]], [found], **_look(part, row, index), label=label)
        _points(axes, [times[row]["masked"][0]], [found], **_look(part, row, index), mfc="white")
    _finish(axes, part, "time of a training step relative to the dense network\nfilled: backend=sparse; hollow: masked")


def _dense(axes: Axes, part: Outcomes, places: Sequence[float]) -> None:
    """Draw the dense networks of the grid, of which the smallest is at 1."""
    found = [gain(part, larger, "dense") for larger, _ in part.part.yardsticks]
    axes.plot([1, *places], [0, *(one.mean for one in found)], color=INK, lw=1, zorder=1)
    _points(axes, places, found, color=INK, marker="o", label="dense networks")
    axes.plot(1, 0, color=INK, marker="o", ls="")


def _look(part: Outcomes, row: str, index: int) -> dict[str, str]:
    member = next(run for run in part.runs[row].values()).results["member"]
    return {"color": COLOURS[member], "marker": MARKERS[index]}


def _finish(axes: Axes, part: Outcomes, label: str) -> None:
    axes.axhline(0, color=INK, lw=0.8, ls=":")
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 4], ["1x", "2x", "4x"])
    axes.minorticks_off()
    axes.set_title(part.part.title)
    axes.set_xlabel(label)
    axes.set_ylabel(f"gain over the dense network [{part.score.unit}]")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=7.5, handletextpad=0.2)


def _points(axes: Axes, places: Sequence[float], found: Sequence[Difference], **look: object) -> None:
    means = [one.mean for one in found]
    intervals = [one.interval or (one.mean, one.mean) for one in found]
    sides = zip(*intervals, strict=True)
    errors = [[abs(bound - middle) for bound, middle in zip(side, means, strict=True)] for side in sides]
    axes.errorbar(places, means, yerr=errors, ls="", elinewidth=1, **look)


def longer(found: Mapping[int, tuple[Outcomes, dict[str, str], str]], unit: str) -> Figure:
    """Draw gains over the dense network that was trained as long, over the epochs of training.

    Args:
        found: By epochs: the runs, their rows by label, and the row of the dense network.
    """
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH / 2, HEIGHT - 1.2))
        axes = figure.subplots()
        labels = list(next(iter(found.values()))[1])
        for index, label in enumerate(labels):
            places = [epochs * 1.025 ** (index - 1) for epochs in found]  # side by side
            gains = [gain(outcomes, rows[label], dense) for outcomes, rows, dense in found.values()]
            look = {"color": (*SPARE_COLOURS, COLOURS["sparse_wide"])[index - 1], "marker": MARKERS[index]}
            axes.plot(places, [one.mean for one in gains], **look, lw=1)
            _points(axes, places, gains, **look, label=label)
        axes.axhline(0, color=INK, lw=0.8, ls=":")
        axes.set_xscale("log")
        axes.set_xticks(list(found), [str(epochs) for epochs in found])
        axes.minorticks_off()
        axes.set_xlabel("epochs")
        axes.set_ylabel(f"gain over the dense network [{unit}]")
        axes.legend(loc="upper center")
    return figure


def spectral(part: Outcomes, column: str, label: str) -> Figure:
    """Draw the score of each run over a spectral gap of its last masks.

    Args:
        column: Of metrics.csv.
    """
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(WIDTH / 2 + 1, HEIGHT - 0.7))
        axes = figure.subplots()
        for index, row in enumerate(part.part.rows):
            if points := part.gaps(row, column):
                member = next(iter(part.runs[row].values())).results["member"]
                look = {"color": COLOURS[member], "marker": MARKERS[index % len(MARKERS)]}
                axes.plot(*zip(*points, strict=True), ls="", label=row, **look)
        axes.set_xlabel(f"{label} of the last masks, mean over layers")
        axes.set_ylabel(part.score.label)
        figure.legend(loc="outside right upper", fontsize=7)
    return figure
