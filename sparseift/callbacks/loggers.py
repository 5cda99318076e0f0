"""Where metrics go besides metrics.csv. Each is made for the folder of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from ..errors import UserError

FINAL = ("val/acc1", "test/acc1")
"""Metrics by which runs are compared: their last values."""


class TensorBoard(TensorBoardLogger):
    """TensorBoard has one horizontal axis, optimizer steps. So losses and accuracies are there twice more, as
    by_mflops/NAME, at the training FLOPs in millions, and as by_epoch/NAME, but for the training loss of single
    steps."""

    def __init__(self, folder: Path):
        super().__init__(folder, name="", version="tensorboard")
        self._flops = 0.0
        self._written: dict[str, float] = {}

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        self._flops = metrics.get("train/flops", self._flops)
        for name, value in metrics.items():
            if not name.startswith(("train/", "val/")) or name == "train/flops":
                continue
            if self._written.get(name, 0.0) != self._flops:  # a validation after training adds nothing
                self._written[name] = self._flops
                self.experiment.add_scalar(f"by_mflops/{name}", value, round(self._flops / 1e6))
                if name != "train/loss" and "epoch" in metrics:
                    self.experiment.add_scalar(f"by_epoch/{name}", value, int(metrics["epoch"]) + 1)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any], *_: Any) -> None:
        """For the comparison of runs, by FINAL. They are named only: Lightning would log a first value of each."""
        known = {name: value for name, value in params.items() if value is not None}
        known = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in known.items()}
        for summary in hparams(known, dict.fromkeys(FINAL, 0.0)):
            self.experiment._get_file_writer().add_summary(summary)


class Hyperparameters(pl.Callback):
    """Tells every logger what kind of run it is."""

    def __init__(self, params: dict[str, Any]):
        self.params = params

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self.params)


def wandb(folder: Path, project: str, entity: str | None, offline: bool) -> Logger:
    """A run of Weights & Biases, named after its folder; a run that is resumed in its folder goes on there."""
    identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return _made(
        lambda: WandbLogger(
            folder.name, folder, id=identity, project=project, entity=entity, offline=offline, resume="allow"
        ),
        "wandb",
    )


def mlflow(folder: Path, experiment: str, tracking_uri: str) -> Logger:
    """A run of MLflow, named after its folder."""
    return _made(lambda: MLFlowLogger(experiment, folder.name, tracking_uri=tracking_uri), "mlflow")


def _made(make: Callable[[], Logger], package: str) -> Logger:
    try:
        return make()
    except ModuleNotFoundError as error:
        raise UserError(f"logger={package} needs the package {package}: pip install {package}") from error
