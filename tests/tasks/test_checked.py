"""A mistake in a task of the user's is one line, not a traceback or a wrong mean."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sparseift.errors import UserError
from sparseift.tasks import Metric, Task
from sparseift.tasks.checked import Checked

MAE = Metric("mae", "mean absolute error", "mm", higher_is_better=False)


class Means(Task):
    metrics = (MAE,)

    def example(self) -> Tensor:
        return torch.empty(1, 2, device="meta")

    def inputs(self, batch: Tensor) -> tuple[tuple, dict]:
        return (batch,), {}

    def loss(self, outputs: Tensor, batch: Tensor) -> Tensor:
        return (outputs - batch).square().sum(1)

    def measure(self, outputs: Tensor, batch: Tensor) -> dict[str, Tensor]:
        return {"mae": (outputs - batch).abs().mean(1), "more": torch.zeros(())}

    def samples(self, batch: Tensor) -> int:
        return len(batch)


BATCH = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def with_method(name: str, value: Any) -> Checked:
    return Checked(type("Own", (Means,), {name: lambda *_: value})())


def test_a_right_task_does_what_it_does_without_checks() -> None:
    task, outputs = Checked(Means()), torch.zeros(2, 2)
    assert task.metrics == (MAE,) and task.example().shape == (1, 2) and task.samples(BATCH) == 2
    assert task.inputs(BATCH) == ((BATCH,), {})
    assert task.loss(outputs, BATCH).tolist() == [5, 25] and task.training_loss(outputs, BATCH) == 15
    measured = task.measure(outputs, BATCH)
    assert list(measured) == ["mae"] and measured["mae"].tolist() == [1.5, 3.5]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("inputs", BATCH, "task.inputs is a tensor of shape (2, 2); expected a pair of a tuple and a dict"),
        (
            "inputs",
            ([BATCH], {}),
            "task.inputs is tuple of list of a tensor of shape (2, 2), dict with nothing; expected",
        ),
        ("inputs", (BATCH,), "task.inputs is tuple of a tensor of shape (2, 2); expected a pair of a tuple and a dict"),
        ("loss", BATCH.sum(), "task.loss is a tensor of shape (); expected a tensor of shape (N,)"),
        ("loss", BATCH, "task.loss is a tensor of shape (2, 2); expected a tensor of shape (N,)"),
        ("training_loss", BATCH[0], "task.training_loss is a tensor of shape (2,); expected a tensor of shape ()"),
        ("training_loss", None, "task.training_loss is NoneType; expected a tensor of shape ()"),
        ("measure", {}, "task.measure is dict with nothing; expected a dict with mae"),
        ("measure", {"mea": BATCH[0]}, "task.measure is dict with mea; expected a dict with mae"),
        ("measure", BATCH[0], "task.measure is a tensor of shape (2,); expected a dict with mae"),
        ("measure", {"mae": 0.5}, "task.measure of mae is float; expected a tensor of shape (N,)"),
        (
            "measure",
            {"mae": BATCH.mean()},
            "task.measure of mae is a tensor of shape (); expected a tensor of shape (N,)",
        ),
        ("samples", torch.tensor(2), "task.samples is tensor(2); expected an integer >= 0"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: Any, message: str) -> None:
    arguments = (BATCH,) if name in ("inputs", "samples") else (BATCH, BATCH)
    with pytest.raises(UserError) as raised:
        getattr(with_method(name, value), name)(*arguments)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("names", [(), ("loss",), ("acc1", "acc1"), ("loss_epoch",), ("flops",), ("a/b",)])
def test_names_of_metrics_must_be_distinct(names: tuple[str, ...]) -> None:
    task = Means()
    task.metrics = tuple(Metric(name, name) for name in names)
    with pytest.raises(UserError, match=r"^task.metrics is \["):
        Checked(task)


@pytest.mark.parametrize("metrics", [None, MAE, ("mae",), {"mae": MAE}])
def test_metrics_must_be_descriptions(metrics: Any) -> None:
    task = Means()
    task.metrics = metrics
    with pytest.raises(UserError, match=r"^task.metrics is .*; expected a tuple of sparseift.tasks.Metric$"):
        Checked(task)


def test_a_class_that_is_no_task() -> None:
    own = type("Own", (), {"loss": Means.loss, "metrics": (MAE,)})
    with pytest.raises(
        UserError, match=r"^task is 'Own'; expected a sparseift.tasks.Task, which has example, inputs, tr"
    ):
        Checked(own())


@pytest.mark.parametrize("wrong", [{"name": 1}, {"label": None}, {"unit": 2}, {"higher_is_better": "no"}])
def test_a_wrong_description(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"^Metric.{next(iter(wrong))} is "):
        Metric(**{"name": "mae", "label": "mean absolute error"} | wrong)
