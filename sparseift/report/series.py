"""Columns of metrics.csv, averaged over the runs of a row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from statistics import mean

from .rows import Row

OF_NETWORK = re.compile(r"masks/[^/]+$")  # masks/NAME/LAYER is a column of a single layer
NOT_EXPLORATION = {"masks/density", "masks/drop_fraction"}
LABELS = {
    "masks/replaced": "fraction of active weights replaced",
    "masks/itop": "fraction of weights ever active (ITOP)",
    "masks/constraint": "fraction of weights always active",
    "masks/hamming": "Hamming distance to the initial mask",
    "masks/dead_channels": "fraction of dead output channels",
    "masks/ramanujan_gap": "Ramanujan gap",
    "masks/ramanujan_gap_iterative": "iterative Ramanujan gap",
    "masks/spectral_gap": "weighted spectral gap",
    "masks/spectral_gap_iterative": "iterative weighted spectral gap",
}
"""Labels of columns. Other columns come last."""


def label_of(column: str) -> str:
    """Return the label of a column about the masks."""
    return LABELS.get(column, column.removeprefix("masks/").replace("_", " "))


def exploration_columns(rows: Iterable[Row]) -> list[str]:
    """Return the columns that describe how the masks of the network change."""
    return [column for column in _mask_columns(rows) if column not in NOT_EXPLORATION and "gap" not in column]


def gap_columns(rows: Iterable[Row]) -> list[str]:
    """Return the columns with spectral gaps of the network."""
    return [column for column in _mask_columns(rows) if "gap" in column]


def _mask_columns(rows: Iterable[Row]) -> list[str]:
    found = {key for row in rows for run in row.runs for line in run.rows for key in line if OF_NETWORK.match(key)}
    return sorted(found, key=lambda column: (column not in LABELS, column))


def mean_series(row: Row, column: str) -> dict[int, float]:
    """Return the mean of a column over the runs that have it, at the steps that all of them logged."""
    logged = [series for run in row.runs if (series := run.series(column))]
    steps = sorted(set.intersection(*map(set, logged))) if logged else []
    return {step: mean(series[step] for series in logged) for step in steps}


def validation_scores(row: Row) -> list[tuple[float, float]]:
    """Return training FLOPs and validation score at the end of each epoch, mean over runs."""
    flops = mean_series(row, "train/flops")
    scores = mean_series(row, f"val/{row.metric.name}")
    return [(flops[step], row.metric.shown(scores[step])) for step in flops if step in scores]
