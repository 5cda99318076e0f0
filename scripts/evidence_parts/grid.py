"""Reads grid.yaml: what scripts/evidence trains and compares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("grid.yaml")
RUNS = Path(__file__).parents[2] / "docs" / "evidence"
"""The folder of the results of every run, by part."""


@dataclass(frozen=True)
class Part:
    """Runs on one data set.

    Args:
        common: Overrides of all runs.
        rows: Further overrides by row.
        yardsticks, primary, secondary: Differences A - B, as pairs of rows.
    """

    name: str
    title: str
    common: str
    rows: dict[str, str]
    seeds: list[int]
    yardsticks: list[tuple[str, str]]
    primary: list[tuple[str, str]]
    secondary: list[tuple[str, str]]

    def jobs(self) -> Iterator[tuple[str, str]]:
        """Yield the folder of each run, below `RUNS`, and its overrides: all rows of a seed before the next seed."""
        for seed in self.seeds:
            for row, overrides in self.rows.items():
                yield f"{self.name}/{row}_seed{seed}", f"{self.common} {overrides} seed={seed}"


def parts(file: Path = FILE) -> dict[str, Part]:
    """Return the parts of the grid by name."""
    grid = yaml.safe_load(file.read_text())
    seeds = grid.pop("seeds")
    kinds = ("yardsticks", "primary", "secondary")
    return {
        name: Part(
            name,
            part["title"],
            part["common"],
            part["rows"],
            seeds,
            *([(ours, theirs) for ours, theirs in part.get(kind, [])] for kind in kinds),
        )
        for name, part in grid.items()
    }


if __name__ == "__main__":
    for part in parts().values():
        for folder, overrides in part.jobs():
            print(folder, overrides)
