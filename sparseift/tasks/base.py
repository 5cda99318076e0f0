"""The interface of a task."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

from torch import Tensor, nn

from ..errors import UserError
from ..graph.examples import Example
from ..runs.metric import Metric


class Task(Protocol):
    """Defines the inputs, the loss and the metrics of a network.

    A batch is what the data module returns, such as a tuple or a dict of tensors. Only the task and the data module
    depend on its content.

    Attributes:
        metrics: One or more metrics. The first one selects the best checkpoint.
        parts_of_sample: What the progress bar counts, and how many of them a sample has.
    """

    metrics: tuple[Metric, ...]
    parts_of_sample: tuple[str, int] = ("samples", 1)

    @abstractmethod
    def example(self) -> Example:
        """Return inputs of one sample on the meta device, whose shapes are used to trace, profile and export."""

    @abstractmethod
    def inputs(self, batch: Any) -> tuple[tuple, dict[str, Any]]:
        """Return the positional and keyword arguments that the network is called with."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return the loss of each sample or token, of shape (N,).

        Evaluation reports the mean as "loss". Sparsifiers that score weights with batches differentiate the mean.
        """

    def training_loss(self, outputs: Any, batch: Any) -> Tensor:
        """Return the scalar that training minimizes: by default the mean of `loss`."""
        return self.loss(outputs, batch).mean()

    @abstractmethod
    def measure(self, outputs: Any, batch: Any) -> dict[str, Tensor]:
        """Return the values of each metric, of shape (N,), by name. Called without gradients."""

    @abstractmethod
    def samples(self, batch: Any) -> int:
        """Return the number of samples in a batch, for the count of FLOPs."""

    def predict(self, net: nn.Module, preprocessing: Any, item: str) -> list[dict[str, Any]]:
        """Return what the network predicts for an input from the command line, as rows of a table.

        A task may take options of `sparseift.predict` as further arguments. Called without gradients.

        Args:
            net: The network in evaluation mode.
            preprocessing: What the data module has described (see `DataModule.preprocessing`).
            item: The input, such as the path of a file.

        Raises:
            UserError: By default, because the task has no such input.
        """
        raise UserError(f"predict is not possible with the task {type(self).__name__}, which does not define it")
