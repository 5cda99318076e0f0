"""The TensorBoard logger."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams


class TensorBoard(TensorBoardLogger):
    """Writes every metric against optimizer steps.

    train/NAME and val/NAME are also written against the training FLOPs in millions, as by_mflops/NAME, and against
    epochs, as by_epoch/NAME. train/loss, which is logged for single steps, has no by_epoch/NAME.
    """

    def __init__(self, folder: Path):
        super().__init__(folder, name="", version="tensorboard")
        self._flops = 0.0
        self._written: dict[str, float] = {}
        self._earlier = set(self._files())

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of the event files by name, for `continue_from`."""
        self.experiment.flush()
        return {file.name: file.stat().st_size for file in self._files()}

    @rank_zero_only
    def continue_from(self, sizes: Mapping[str, int]) -> None:
        """Cut the event files of earlier processes to `sizes`: what they wrote later, this process writes again."""
        for file in self._earlier:
            kept = sizes.get(file.name, 0)
            if not kept:
                file.unlink()
            elif kept < file.stat().st_size:
                os.truncate(file, kept)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        self._flops = metrics.get("train/flops", self._flops)
        for name, value in metrics.items():
            if not name.startswith(("train/", "val/")) or name == "train/flops":
                continue
            if self._written.get(name, 0.0) != self._flops:  # a validation after training has been written before
                self._written[name] = self._flops
                self.experiment.add_scalar(f"by_mflops/{name}", value, round(self._flops / 1e6))
                if name != "train/loss" and "epoch" in metrics:
                    self.experiment.add_scalar(f"by_epoch/{name}", value, int(metrics["epoch"]) + 1)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, metrics: dict[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Write the hyperparameters and the names of `metrics`, but not their values, as Lightning's method does."""
        params = vars(params) if isinstance(params, Namespace) else params
        known = {name: value for name, value in params.items() if value is not None}
        known = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in known.items()}
        for summary in hparams(known, metrics or {}):
            self.experiment._get_file_writer().add_summary(summary)

    def _files(self) -> list[Path]:
        return list(Path(self.log_dir).glob("events.out.tfevents.*"))
