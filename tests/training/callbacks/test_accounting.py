"""Samples, FLOPs and seconds of a run."""

from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from sparseift import Masks, sparsify
from sparseift.backends import Masked
from sparseift.sparsifiers import Sparsifier
from sparseift.tasks import Classification
from sparseift.training.callbacks import Accounting, MaskCallback

pytestmark = pytest.mark.filterwarnings("ignore")
FORWARD, STORED = 2 * (8 + 16 + 24), 2 * (8 + 32 + 24)  # layers of 8, 32 and 24 weights, half of the 32 masked


class EverySecondStep(Sparsifier):
    def due(self, step: int, total: int) -> bool:
        assert total == 6
        return step % 2 == 0


class ByDenseGradient(EverySecondStep):
    dense_gradient: ClassVar[bool] = True


def accounting(sparsifier: Sparsifier) -> Accounting:
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 8), nn.Linear(8, 3))
    net, plan = sparsify(net, "dense", 0.5, torch.empty(1, 2))
    task = Classification(3, 1, 2, label_smoothing=0.0)
    mover = MaskCallback(Masks.random(net, plan, seed=0), plan, sparsifier, Masked(), task, seed=0)
    return Accounting(plan, task, mover)


@pytest.mark.parametrize(
    ("sparsifier", "dense"),
    [
        (EverySecondStep(), 0),
        (ByDenseGradient(), 5 + 5 + 2),  # steps 2, 4, 6 of batches 5, 5, 2, 5, 5, 2
    ],
)
def test_dense_gradients_cost_more(fit, sparsifier: Sparsifier, dense: int) -> None:
    counter = accounting(sparsifier)
    fit(counter.mover, counter)
    assert counter.dense_gradient_flops == (STORED - FORWARD) * dense
    assert counter.train_flops == 3 * FORWARD * 24 + counter.dense_gradient_flops
    assert 0 < counter.seconds < 60


def test_the_first_micro_batch_after_a_resume_is_not_logged_as_the_step_before() -> None:
    logged: list[int] = []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: logged.append(step))
    trainer = SimpleNamespace(global_step=3, log_every_n_steps=1, estimated_stepping_batches=6)
    trainer.loggers, trainer.callbacks = [logger], []
    counter = accounting(EverySecondStep())
    counter.on_train_start(trainer, None)
    counter.on_train_batch_end(trainer)
    assert logged == []
    trainer.global_step = 4
    counter.on_train_batch_end(trainer)
    assert logged == [3]


def test_expenses_go_on_after_a_resume(fit) -> None:
    first = accounting(ByDenseGradient())
    fit(first.mover, first)
    second = accounting(ByDenseGradient())
    second.load_state_dict({**first.state_dict(), "seconds": 1000.0})
    fit(second.mover, second)
    assert second.train_flops == 2 * first.train_flops
    assert second.dense_gradient_flops == 2 * first.dense_gradient_flops > 0
    assert 1000 < second.seconds < 1060
