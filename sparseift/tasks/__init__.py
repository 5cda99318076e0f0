"""Tasks: inputs, loss and metrics, one task per file. Imports torch, `graph` and `runs`."""

from ..runs.metric import Metric
from .base import Task
from .classification import Classification
from .language_modelling import LanguageModelling

__all__ = ["Classification", "LanguageModelling", "Metric", "Task"]
