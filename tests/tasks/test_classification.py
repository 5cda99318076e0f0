"""Classification against losses and metrics computed by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparseift.errors import UserError
from sparseift.tasks import Classification

SETTINGS = {"num_classes": 7, "channels": 3, "image_size": 5, "label_smoothing": 0.1}


def batch(count: int = 38) -> tuple[Tensor, list[Tensor]]:
    """Logits, and images with labels."""
    data = torch.Generator().manual_seed(0)
    labels = torch.randint(7, (count,), generator=data)
    return torch.randn(count, 7, generator=data), [torch.randn(count, 3, 5, 5, generator=data), labels]


def test_shapes_and_inputs() -> None:
    task, (_, data) = Classification(**SETTINGS), batch()
    assert task.example().shape == (1, 3, 5, 5) and task.example().is_meta
    assert task.inputs(data) == ((data[0],), {}) and task.samples(data) == 38
    assert [(metric.name, metric.label, metric.unit) for metric in task.metrics] == [
        ("acc1", "top-1", "%"),
        ("acc5", "top-5", "%"),
    ]


def test_the_loss_of_a_sample_is_not_smoothed() -> None:
    logits, data = batch()
    expected = -logits.log_softmax(1)[torch.arange(38), data[1]]
    torch.testing.assert_close(Classification(**SETTINGS).loss(logits, data), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("count", [38, 86, 128])
def test_the_training_loss_has_the_bits_of_torchs_own(smoothing: float, count: int) -> None:
    """The mean of smoothed losses of samples rounds differently where the batch is no power of two."""
    task, (logits, data) = Classification(**SETTINGS | {"label_smoothing": smoothing}), batch(count)
    ours, torchs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, expected = task.training_loss(ours, data), F.cross_entropy(torchs, data[1], label_smoothing=smoothing)
    loss.backward()
    expected.backward()
    assert torch.equal(loss, expected) and torch.equal(ours.grad, torchs.grad)


def test_the_mean_loss_of_samples_has_the_gradient_of_the_mean_loss() -> None:
    """Sparsifiers that score by the loss choose the same masks as by torch's own mean."""
    task, (logits, data) = Classification(**SETTINGS), batch()
    ours, torchs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    task.loss(ours, data).mean().backward()
    F.cross_entropy(torchs, data[1]).backward()
    assert torch.equal(ours.grad, torchs.grad)


def test_metrics_by_hand() -> None:
    task, (logits, data) = Classification(**SETTINGS), batch()
    order = logits.argsort(1, descending=True).tolist()
    found, labels = task.measure(logits, data), data[1].tolist()
    assert found["acc1"].tolist() == [float(label == best[0]) for label, best in zip(labels, order, strict=True)]
    assert found["acc5"].tolist() == [float(label in best[:5]) for label, best in zip(labels, order, strict=True)]
    assert 0 < found["acc1"].sum() < found["acc5"].sum() < 38


def test_the_first_of_equal_logits_is_the_best() -> None:
    logits = torch.zeros(7, 7, dtype=torch.bfloat16)
    found = Classification(**SETTINGS).measure(logits, [torch.zeros(7), torch.arange(7)])
    assert found["acc1"].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert found["acc1"].dtype == found["acc5"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 0}, "dataset.num_classes is 0; expected an integer >= 1"),
        ({"channels": "rgb"}, "dataset.channels is 'rgb'; expected an integer >= 1"),
        ({"image_size": 2.5}, "dataset.image_size is 2.5; expected an integer >= 1"),
        ({"label_smoothing": 1.5}, "recipe.label_smoothing is 1.5; expected a number in [0, 1]"),
        ({"label_smoothing": None}, "recipe.label_smoothing is None; expected a number in [0, 1]"),
        ({"label_smoothing": math.nan}, "recipe.label_smoothing is nan; expected a number in [0, 1]"),
    ],
    ids=str,
)
def test_mistakes(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as refusal:
        Classification(**SETTINGS | change)
    assert str(refusal.value) == message


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mixed_images_have_probabilities_as_targets(dtype: torch.dtype) -> None:
    """The loss is the weighted mean of those of the classes, smoothed or not; the most probable class counts."""
    task, (logits, (images, labels)) = Classification(**SETTINGS), batch()
    logits, others = logits.to(dtype), labels.roll(1)
    share = torch.linspace(0.6, 1, 38)
    soft = F.one_hot(labels, 7) * share[:, None] + F.one_hot(others, 7) * (1 - share[:, None])
    mixed, close = [images, soft], {"rtol": 2e-2, "atol": 1e-2} if dtype == torch.bfloat16 else {}
    one, other = (F.cross_entropy(logits.float(), target, reduction="none") for target in (labels, others))
    torch.testing.assert_close(task.loss(logits, mixed).float(), share * one + (1 - share) * other, **close)
    log_p = logits.float().log_softmax(1)
    expected = -((0.9 * soft + 0.1 / 7) * log_p).sum(1).mean()
    torch.testing.assert_close(task.training_loss(logits, mixed).float(), expected, **close)
    for name, values in task.measure(logits, mixed).items():
        assert torch.equal(values, task.measure(logits, [images, labels])[name])
    assert task.samples(mixed) == 38
