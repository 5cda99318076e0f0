"""What a task gets from the protocol, and what it must define."""

import pytest
import torch
from torch import Tensor

from sparseift.tasks import Metric, Task


class Means(Task):
    metrics = (Metric("mae", "mean absolute error", "mm", higher_is_better=False),)

    def example(self) -> Tensor:
        return torch.empty(1, 2, device="meta")

    def inputs(self, batch: Tensor) -> tuple[tuple, dict]:
        return (batch,), {}

    def loss(self, outputs: Tensor, batch: Tensor) -> Tensor:
        return (outputs - batch).square().sum(1)

    def measure(self, outputs: Tensor, batch: Tensor) -> dict[str, Tensor]:
        return {"mae": (outputs - batch).abs().mean(1)}

    def samples(self, batch: Tensor) -> int:
        return len(batch)


def test_training_minimizes_the_mean_loss_by_default() -> None:
    batch = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert Means().training_loss(torch.zeros(2, 2), batch) == (1 + 4 + 9 + 16) / 2


def test_a_task_without_a_loss_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="loss"):
        type(
            "Lossless", (Task,), {name: getattr(Means, name) for name in ("example", "inputs", "measure", "samples")}
        )()
