"""Loggers of Weights & Biases and MLflow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from pytorch_lightning.loggers import Logger, MLFlowLogger, WandbLogger

from ...errors import UserError


def wandb(folder: Path, project: str, entity: str | None, offline: bool) -> Logger:
    """Return the logger of a Weights & Biases run, named after the run folder. A resumed run continues it."""
    identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return _made(
        lambda: WandbLogger(
            folder.name, folder, id=identity, project=project, entity=entity, offline=offline, resume="allow"
        ),
        "wandb",
    )


def mlflow(folder: Path, experiment: str, tracking_uri: str) -> Logger:
    """Return the logger of an MLflow run, named after the run folder."""
    return _made(lambda: MLFlowLogger(experiment, folder.name, tracking_uri=tracking_uri), "mlflow")


def _made(make: Callable[[], Logger], package: str) -> Logger:
    try:
        return make()
    except ModuleNotFoundError as error:
        raise UserError(f"logger={package} needs the package {package}: pip install {package}") from error
