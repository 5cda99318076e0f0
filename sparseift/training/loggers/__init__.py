"""Loggers: metrics.csv, layers.csv, TensorBoard, Weights & Biases and MLflow. Imports Lightning and `common`."""

from .metrics_csv import LayersCsv, MetricsCsv
from .remote import mlflow, wandb
from .tensorboard import TensorBoard

__all__ = ["LayersCsv", "MetricsCsv", "TensorBoard", "mlflow", "wandb"]
