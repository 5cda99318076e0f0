"""What the runs of the grid show: scores, paired differences and their p-values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from sparseift.report.statistics import Difference, difference
from sparseift.runs.read import FINISHED, Run, read_run

from .grid import Part


class Score(NamedTuple):
    """A value on the test set.

    Args:
        name: Key in `test` of results.json.
        scale: Factor to the unit; negative if lower is better, so that a gain is positive.
    """

    name: str
    scale: float
    label: str
    unit: str
    decimals: int


ACCURACY = Score("acc1", 100, "test top-1 in %", "points", 2)
LOSS = Score("loss", -1, "test loss in nats per token", "nats per token", 3)


@dataclass(frozen=True)
class Outcomes:
    """The finished runs of a part, by row and seed."""

    part: Part
    runs: dict[str, dict[int, Run]]

    @classmethod
    def read(cls, part: Part, folder: Path) -> Outcomes:
        """Read the runs of a part in the subfolders ROW_seedN of a folder."""
        runs: dict[str, dict[int, Run]] = {row: {} for row in part.rows}
        for row in part.rows:
            for seed in part.seeds:
                run = read_run(folder / f"{row}_seed{seed}")
                if run.state == FINISHED:
                    runs[row][seed] = run
        return cls(part, runs)

    @property
    def finished(self) -> bool:
        """Whether all runs of the part are finished."""
        return all(len(of_row) == len(self.part.seeds) for of_row in self.runs.values())

    @property
    def score(self) -> Score:
        first = next(run for of_row in self.runs.values() for run in of_row.values())
        return ACCURACY if ACCURACY.name in first.results["test"] else LOSS

    def scores(self, row: str) -> dict[int, float]:
        """Return the score of each seed; larger is better."""
        return {seed: self.score.scale * run.results["test"][self.score.name] for seed, run in self.runs[row].items()}

    def cost(self, row: str, key: str = "forward") -> float:
        """Return FLOPs of a row relative to those of the dense network. key: that of `flops` in results.json."""
        ours, dense = (
            mean(run.results["flops"][key] for run in self.runs[name].values()) for name in (row, self.baseline(row))
        )
        return ours / dense

    def baseline(self, row: str) -> str:
        """Return the row of the dense network that was trained as long as a row."""
        epochs = row.rpartition("_")[2]
        return f"dense_{epochs}" if f"dense_{epochs}" in self.runs and epochs.isdigit() else "dense"

    def gaps(self, row: str, column: str) -> list[tuple[float, float]]:
        """Return the last value in a column of metrics.csv with the score, for each run that logged it."""
        scores, runs = self.scores(row), self.runs[row]
        series = {seed: run.series(column) for seed, run in runs.items()}
        return [(found[max(found)], scores[seed]) for seed, found in series.items() if found]

    def seconds(self) -> float:
        return sum(run.results["seconds"] for of_row in self.runs.values() for run in of_row.values())


def gain(outcomes: Outcomes, ours: str, theirs: str) -> Difference:
    """Return by how much a row is better than another, paired by seed."""
    return difference(outcomes.scores(ours), outcomes.scores(theirs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number (Holm, Scandinavian Journal of Statistics, 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def worth(outcomes: Outcomes, row: str) -> float | None:
    """Return the FLOPs of a dense network with the score of a row, relative to the dense network of the grid.

    Between the dense networks of the grid, the score is taken as linear in the logarithm of the FLOPs. None: the row is
    not better than the dense network, or better than the largest one.
    """
    dense = ["dense", *(larger for larger, _ in outcomes.part.yardsticks)]
    scores = [mean(outcomes.scores(name).values()) for name in dense]
    flops = [log(outcomes.cost(name)) for name in dense]
    score = mean(outcomes.scores(row).values())
    if not scores[0] < score < scores[-1]:
        return None
    return exp(float(np.interp(score, scores, flops)))


def adjusted(parts: Iterable[Outcomes], family: str) -> dict[tuple[str, str, str], tuple[Difference, float]]:
    """Return the gains of a family over all parts, with Holm's p-value. family: "primary" or "secondary"."""
    gains = {
        (one.part.name, ours, theirs): gain(one, ours, theirs)
        for one in parts
        for ours, theirs in getattr(one.part, family)
    }
    corrected = holm([1.0 if found.p is None else found.p for found in gains.values()])
    return {key: (found, p) for (key, found), p in zip(gains.items(), corrected, strict=True)}
