"""Tasks: inputs, loss and metrics, one task per file. Imports torch, `graph` and `runs`."""

from ..runs.metric import Metric
from .base import Task
from .classification import Classification

__all__ = ["Classification", "Metric", "Task"]
