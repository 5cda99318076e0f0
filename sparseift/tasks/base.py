"""The interface of a task: what is learned. Nothing outside `tasks`, `data` and conf knows what a batch holds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

from torch import Tensor

from ..graph.examples import Example
from ..runs.metric import Metric


class Task(Protocol):
    """What a network is called with, what it minimizes, and how it is judged.

    Derive from this class: `training_loss` has a default. A batch is what the data module gives: a tuple, a list or a
    dict of tensors, whatever the methods below take.

    Attributes:
        metrics: At least one. The first one selects the best checkpoint.
    """

    metrics: tuple[Metric, ...]

    @abstractmethod
    def example(self) -> Example:
        """Return the inputs of a batch of one sample, on the meta device: shapes to trace, profile and export with."""

    @abstractmethod
    def inputs(self, batch: Any) -> tuple[tuple, dict[str, Any]]:
        """Return the positional and keyword arguments that the network is called with."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return the loss of each sample or token, of shape (N,).

        Evaluation reports its mean as "loss". Sparsifiers that score weights by the loss differentiate its mean.
        """

    def training_loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return the scalar that training minimizes: by default the mean of `loss`."""
        return self.loss(outputs, batch).mean()

    @abstractmethod
    def measure(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Return the values of each metric by name, of shape (N,). It is called without gradients."""

    @abstractmethod
    def samples(self, batch: Any) -> int:
        """Return the number of samples in a batch: what the accounting of FLOPs charges."""
