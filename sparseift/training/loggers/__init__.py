"""Loggers: metrics.csv, TensorBoard, Weights & Biases and MLflow. Imports Lightning and `common`."""

from .metrics_csv import MetricsCsv
from .remote import mlflow, wandb
from .tensorboard import TensorBoard

__all__ = ["MetricsCsv", "TensorBoard", "mlflow", "wandb"]
