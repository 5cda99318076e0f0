"""What is learned: inputs, loss and metrics, one task a file. Imports torch, `graph` and `runs`."""

from ..runs.metric import Metric
from .base import Task

__all__ = ["Metric", "Task"]
