"""Checks of a task. A loss or a metric of the wrong shape could give a wrong mean without an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..common.checks import integer, require
from ..errors import UserError
from ..graph.examples import Example
from ..runs.metric import Metric
from .base import Task

METHODS = ("example", "inputs", "loss", "training_loss", "measure", "samples")
RESERVED = {"loss", "loss_epoch", "flops"}
"""Names that are logged beside the metrics."""


class Checked(Task):
    """Wraps a task and checks what its methods return.

    Every method raises a `UserError` if the result does not have the type and shape that `Task` states.

    Raises:
        UserError: The task lacks a method, `metrics` is not a sequence of `Metric`, or two metrics have the same name.
    """

    def __init__(self, task: Task):
        missing = [name for name in METHODS if not callable(getattr(task, name, None))]
        require(not missing, "task", type(task).__name__, f"a sparseift.tasks.Task, which has {', '.join(missing)}")
        metrics = getattr(task, "metrics", None)
        fits = isinstance(metrics, Sequence) and all(isinstance(metric, Metric) for metric in metrics)
        require(fits, "task.metrics", metrics, "a tuple of sparseift.tasks.Metric")
        names = [metric.name for metric in task.metrics]
        distinct = bool(names) and len(RESERVED.union(names)) == len(RESERVED) + len(names)
        fits = distinct and not any("/" in name for name in names)
        expected = f"distinct names without a slash, at least one, none of {', '.join(sorted(RESERVED))}"
        require(fits, "task.metrics", names, expected)
        self.task = task
        self.metrics = tuple(metrics or ())
        self.parts_of_sample = getattr(task, "parts_of_sample", Task.parts_of_sample)

    def example(self) -> Example:
        return self.task.example()

    def inputs(self, batch: Any) -> tuple[tuple, dict[str, Any]]:
        found = self.task.inputs(batch)
        fits = isinstance(found, tuple | list) and len(found) == 2
        fits = fits and isinstance(found[0], tuple) and isinstance(found[1], dict)
        _require(fits, "task.inputs", found, "a pair of a tuple and a dict")
        return found

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        return _of_dim(1, "task.loss", self.task.loss(outputs, batch))

    def training_loss(self, outputs: Any, batch: Any) -> Tensor:
        return _of_dim(0, "task.training_loss", self.task.training_loss(outputs, batch))

    def measure(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        values = self.task.measure(outputs, batch)
        names = [metric.name for metric in self.metrics]
        fits = isinstance(values, Mapping) and values.keys() >= set(names)
        _require(fits, "task.measure", values, f"a dict with {', '.join(names)}")
        return {name: _of_dim(1, f"task.measure of {name}", values[name]) for name in names}

    def samples(self, batch: Any) -> int:
        return integer("task.samples", self.task.samples(batch), 0)


def _of_dim(dim: int, name: str, value: Any) -> Tensor:
    fits = isinstance(value, Tensor) and value.dim() == dim
    _require(fits, name, value, f"a tensor of shape {'(N,)' if dim else '()'}")
    return value


def _require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Like `require`, but the message shows the type and shape of the value, not its numbers."""
    if not condition:
        raise UserError(f"{name} is {_kind(value)}; expected {expected}")


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return f"{kind} with {', '.join(map(str, value)) or 'nothing'}"
    return f"{kind} of {', '.join(map(_kind, value))}" if isinstance(value, tuple | list) else kind
