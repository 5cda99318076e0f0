"""Where metrics go. Imports Lightning."""

from .metrics_csv import MetricsCsv
from .remote import mlflow, wandb
from .tensorboard import TensorBoard

__all__ = ["MetricsCsv", "TensorBoard", "mlflow", "wandb"]
