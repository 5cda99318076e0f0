"""metrics.csv, and layers.csv with the values of single layers. A resumed run continues the files."""

from __future__ import annotations

import csv
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from ...common.files import replacing

ROWS_PER_SAVE = 100


LAYERS = "layers/"
"""Prefix of the values of single layers, which are logged as layers/LAYER/NAME."""


class CsvFile(Logger):
    """Keeps all rows and replaces the file atomically. Lightning's own CSV logger deletes the file on a resume.

    Attributes:
        file_name: Name of the file in the run folder. Checkpoints hold the content under this name.
        keys: The columns that say what a row is about. The other cells are numbers.
    """

    file_name: ClassVar[str]
    keys: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path):
        super().__init__()
        self.path = Path(folder) / self.file_name
        self.rows: list[dict[str, Any]] = []
        self._unsaved = 0

    def rows_of(self, metrics: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        """Yield the rows of the file for these values, without the step."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> CsvFile:
        return self

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: .hydra/config.yaml has the hyperparameters."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        rows = [{"step": step, **row} for row in self.rows_of(metrics)]
        self.rows += rows
        self._unsaved += bool(rows)
        if self._unsaved >= ROWS_PER_SAVE:
            self.save()

    @property
    def text(self) -> str:
        """The content of the file with all rows. Checkpoints hold it, so that a resume does not read the file."""
        columns = [*self.keys, *sorted({key for row in self.rows for key in row} - {*self.keys})]
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
        readable = [{key: cell for key, cell in row.items() if cell} for row in rows if self._is_readable(row)]
        if damaged := len(lines) + bool(unfinished) - len(readable):
            warnings.warn(f"{self.path} has {damaged} damaged rows, which are left out", stacklevel=2)
        return readable

    def _is_readable(self, row: dict[str, str]) -> bool:
        """Whether a row has its keys, and numbers in its other cells."""
        try:
            numbers = [float(cell) for key, cell in row.items() if cell and key not in self.keys]
            return int(row["step"]) >= 0 and all(row[key] for key in self.keys) and bool(numbers)
        except (KeyError, ValueError):
            return False


class MetricsCsv(CsvFile):
    """Writes metrics.csv: one row for each call of a log method, without the values of single layers."""

    file_name = "metrics.csv"
    keys = ("step",)

    def rows_of(self, metrics: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        if row := {key: float(value) for key, value in metrics.items() if not key.startswith(LAYERS)}:
            yield row


class LayersCsv(CsvFile):
    """Writes layers.csv: for each call of a log method, one row for each layer that it has values of."""

    file_name = "layers.csv"
    keys = ("step", "layer")

    def rows_of(self, metrics: Mapping[str, float]) -> Iterator[dict[str, Any]]:
        layers: dict[str, dict[str, float]] = defaultdict(dict)
        for key, value in metrics.items():
            if key.startswith(LAYERS):
                layer, _, name = key.removeprefix(LAYERS).rpartition("/")
                layers[layer][name] = float(value)
        yield from ({"layer": layer, **values} for layer, values in layers.items())


def _cells(line: str) -> list[str]:
    """The cells of one line: damage in it does not reach the next line."""
    try:
        return next(csv.reader([line.replace("\0", "?")]), [])
    except csv.Error:
        return []
