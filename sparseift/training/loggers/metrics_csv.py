"""metrics.csv: one row for each call of a log method. A resumed run continues the file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from ...common.files import replacing

ROWS_PER_SAVE = 100


class MetricsCsv(Logger):
    """Keeps all rows and replaces the file atomically. Lightning's own CSV logger deletes the file on a resume."""

    def __init__(self, folder: Path):
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: list[dict[str, Any]] = []
        self._unsaved = 0

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsCsv:
        return self

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: .hydra/config.yaml has the hyperparameters."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append({"step": step, **{key: float(value) for key, value in metrics.items()}})
        self._unsaved += 1
        if self._unsaved >= ROWS_PER_SAVE:
            self.save()

    @rank_zero_only
    def continue_from(self, step: int) -> None:
        """Keep the rows of the first `step` optimizer steps that an earlier process has written."""
        if self.path.exists():
            with self.path.open(newline="") as file:
                earlier = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = [row for row in earlier if int(row.get("step", 0)) < step] + self.rows

    @rank_zero_only
    def save(self) -> None:
        if not self._unsaved:
            return
        self._unsaved = 0
        columns = ["step", *sorted({key for row in self.rows for key in row} - {"step"})]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()
