"""metrics.csv: one row for each call of a log method. A resumed run continues the file."""

from __future__ import annotations

import csv
import warnings
from io import StringIO
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

    @property
    def text(self) -> str:
        """The content of the file with all rows. Checkpoints hold it, so that a resume does not read the file."""
        columns = ["step", *sorted({key for row in self.rows for key in row} - {"step"})]
        file = StringIO(newline="")
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        return file.getvalue()

    @rank_zero_only
    def continue_from(self, step: int, text: str | None) -> None:
        """Keep the rows of the first `step` optimizer steps that an earlier process has logged.

        Args:
            text: `text` of that process. None, for a checkpoint of version 0.1: the rows are in the file. Rows that
                cannot be read are left out, with a warning.
        """
        if text is None:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""
        self.rows = [row for row in self._earlier(text) if int(row["step"]) < step] + self.rows
        self._unsaved += 1

    @rank_zero_only
    def save(self) -> None:
        if not self._unsaved:
            return
        self._unsaved = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.write_text(self.text, encoding="utf-8", newline="")

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    def _earlier(self, text: str) -> list[dict[str, str]]:
        """The readable rows, without empty cells."""
        whole, _, unfinished = text.rpartition("\n")
        header, *lines = map(_cells, whole.split("\n"))
        rows = [dict(zip(header, cells, strict=True)) for cells in lines if len(cells) == len(header)]
        readable = [{key: cell for key, cell in row.items() if cell} for row in rows if _is_readable(row)]
        if damaged := len(lines) + bool(unfinished) - len(readable):
            warnings.warn(f"{self.path} has {damaged} damaged rows, which are left out", stacklevel=2)
        return readable


def _cells(line: str) -> list[str]:
    """The cells of one line: damage in it does not reach the next line."""
    try:
        return next(csv.reader([line.replace("\0", "?")]), [])
    except csv.Error:
        return []


def _is_readable(row: dict[str, str]) -> bool:
    """Whether a row has a step, and numbers in its other cells."""
    try:
        numbers = [float(cell) for cell in row.values() if cell]
        return int(row["step"]) >= 0 and len(numbers) > 0
    except (KeyError, ValueError):
        return False
