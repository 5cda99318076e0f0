"""Samples, FLOPs and seconds of a run."""

from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from sparseift import Masks, sparsify
from sparseift.backends import Masked
from sparseift.sparsifiers import Sparsifier
from sparseift.tasks import Classification
from sparseift.training.callbacks import Accounting, MaskCallback

pytestmark = pytest.mark.filterwarnings("ignore")
FORWARD, STORED = 2 * (16 + 16 + 24), 2 * (16 + 32 + 24)  # layers of 16, 32 and 24 weights, half of the 32 masked


class EverySecondStep(Sparsifier):
    def due(self, step: int, total: int) -> bool:
        assert total in (2, 6)
        return step % 2 == 0


class ByDenseGradient(EverySecondStep):
    dense_gradient: ClassVar[bool] = True


def accounting(sparsifier: Sparsifier) -> tuple[nn.Module, Accounting]:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 8), nn.Linear(8, 3))
    net, plan = sparsify(net, "dense", 0.5, torch.empty(1, 1, 2, 2))
    task = Classification(3, 1, 2, label_smoothing=0.0)
    mask_callback = MaskCallback(Masks.random(net, plan, seed=0), plan, sparsifier, Masked(), task, seed=0)
    return net, Accounting(plan, task, mask_callback)


@pytest.mark.parametrize(
    ("sparsifier", "dense"),
    [
        (EverySecondStep(), 0),
        (ByDenseGradient(), 5 + 5 + 2),  # steps 2, 4, 6 of batches 5, 5, 2, 5, 5, 2
    ],
)
def test_dense_gradients_cost_more(fit, sparsifier: Sparsifier, dense: int) -> None:
    net, counter = accounting(sparsifier)
    fit(counter.mask_callback, counter, net=net)
    assert counter.dense_gradient_flops == (STORED - FORWARD) * dense
    assert counter.train_flops == 3 * FORWARD * 24 + counter.dense_gradient_flops
    assert 0 < counter.seconds < 60


def test_every_evaluation_of_a_step_is_counted(fit) -> None:
    """L-BFGS asks for the loss and the gradients as often as it likes."""
    passes = []

    class Count(pl.Callback):
        def on_before_backward(self, *_) -> None:
            passes.append(1)

    class Moves(EverySecondStep):
        def update(self, masks, optimizers, at) -> None:
            moments.append(at.step)

    moments: list[int] = []
    net, counter = accounting(Moves())
    lbfgs = partial(torch.optim.LBFGS, lr=0.01, max_iter=3, tolerance_grad=0, tolerance_change=0)
    fit(counter.mask_callback, counter, Count(), net=net, optimizer=lbfgs, max_epochs=1, limit_train_batches=2)
    assert len(passes) == 6 and moments == [2], "three evaluations of each of two batches of 5, and one update"
    assert counter.train_flops == 3 * FORWARD * 5 * len(passes)
    assert counter.spent["samples"] == 10


def test_the_first_micro_batch_after_a_resume_is_not_logged_as_the_step_before() -> None:
    logged: list[int] = []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: logged.append(step))
    trainer = SimpleNamespace(global_step=3, log_every_n_steps=1, estimated_stepping_batches=6)
    trainer.loggers, trainer.callbacks = [logger], []
    _, counter = accounting(EverySecondStep())
    counter.on_train_start(trainer, None)
    counter.on_train_batch_end(trainer)
    assert logged == []
    trainer.global_step = 4
    counter.on_train_batch_end(trainer)
    assert logged == [3]


def test_expenses_go_on_after_a_resume(fit) -> None:
    net, first = accounting(ByDenseGradient())
    fit(first.mask_callback, first, net=net)
    net, second = accounting(ByDenseGradient())
    second.load_state_dict({**first.state_dict(), "seconds": 1000.0})
    fit(second.mask_callback, second, net=net)
    assert second.train_flops == 2 * first.train_flops
    assert second.dense_gradient_flops == 2 * first.dense_gradient_flops > 0
    assert 1000 < second.seconds < 1060
