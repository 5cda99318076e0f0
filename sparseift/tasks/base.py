"""The interface of a task: what is learned. Nothing outside `tasks`, `data` and conf knows what a batch holds."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from ..graph.examples import Example
from ..runs.metric import Metric


class Task(Protocol):
    """What a network is called with, what it minimizes, and how it is judged.

    A batch is what the data module gives: a tuple, a list or a dict of tensors, whatever the methods below take.

    Attributes:
        metrics: The metrics that `measure` computes. The first one selects the best checkpoint.
    """

    metrics: tuple[Metric, ...]

    def example(self) -> Example:
        """Return the inputs of a batch of one sample, on the meta device: shapes to trace, profile and export with."""
        ...

    def inputs(self, batch: Any) -> tuple[tuple, dict[str, Any]]:
        """Return the positional and keyword arguments that the network is called with."""
        ...

    def loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return the training loss of each sample or token, of shape (N,). Its mean is minimized.

        Sparsifiers that score weights by the loss call it, too.
        """
        ...

    def measure(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Return the values of each metric, and of "loss" as it is evaluated, by name, each of shape (N,)."""
        ...

    def samples(self, batch: Any) -> int:
        """Return the number of samples in a batch: what the accounting of FLOPs charges."""
        ...
