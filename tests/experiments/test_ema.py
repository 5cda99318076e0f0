"""The moving average of the weights: its formula, under masks that move; judged, kept and resumed in their place."""

from collections.abc import Callable
from contextlib import nullcontext
from math import e
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn

from sparseift import UserError
from sparseift.app.build import TrainingParts
from sparseift.training.callbacks import EMA
from sparseift.training.checkpoints.codec import read_checkpoint

DECAY = 0.8
AVERAGED = ("callbacks=[ema]", f"callbacks.ema.decay={DECAY}")
MOVING = "sparsifier.update_interval=2"  # masks move in steps 2, 4 and 6 of 10

Build = Callable[..., TrainingParts]


class Simulation(pl.Callback):
    """The average by its formula from the weights and masks after each step, and what else is seen of a run."""

    def __init__(self, run: TrainingParts):
        self.run = run
        self.average: dict[str, Tensor] | None = None
        self.sums: list[float] = []
        self.validated: list[dict[str, Tensor]] = []
        self.moved = 0

    def on_train_batch_end(self, *_) -> None:
        now = {name: tensor.clone() for name, tensor in self.run.net.state_dict().items()}
        before = self.average or now
        self.average = {
            name: before[name] * DECAY + now[name] * (1 - DECAY) if now[name].is_floating_point() else now[name]
            for name in now
        }
        for name in self.run.masks or ():
            outside = ~self.run.masks[name]
            self.moved += int(self.average[f"{name}.weight"][outside].count_nonzero())
            self.average[f"{name}.weight"][outside] = 0

    def on_validation_epoch_end(self, *_) -> None:
        self.validated.append({name: tensor.clone() for name, tensor in self.run.net.state_dict().items()})


def fit(run: TrainingParts, checkpoint: Path | None = None) -> Simulation:
    # Before all other callbacks, so that it looks at validation while the average is in place.
    simulation = Simulation(run)
    run.trainer.callbacks.insert(0, simulation)
    run.trainer.fit(run.module, run.data, ckpt_path=checkpoint, weights_only=True)
    return simulation


def last(run: TrainingParts) -> Path:
    return Path(run.trainer.default_root_dir) / "checkpoints" / "last.ckpt"


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, tensor in expected.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "overrides", [(MOVING,), ("sparsifier=set", MOVING), ("member=dense",)], ids=["rigl", "set", "dense"]
)
def test_the_network_becomes_the_average_of_its_weights_under_its_masks(
    build: Build, overrides: tuple[str, ...]
) -> None:
    run = build(*AVERAGED, *overrides)
    simulation = fit(run)
    assert_close(run.net.state_dict(), simulation.average)
    assert_close(simulation.validated[-1], simulation.average)
    if run.masks:
        assert simulation.moved  # weights were dropped whose average was not zero
        assert all(not run.net.get_submodule(name).weight[~run.masks[name]].any() for name in run.masks)


def test_training_is_as_without(build: Build) -> None:
    """The weights that the average is of, and the masks."""
    plain, averaged = build(MOVING, folder="plain"), build(MOVING, *AVERAGED, folder="averaged")
    fit(plain)
    fit(averaged)
    packed = torch.load(last(averaged), weights_only=True)
    assert "values" in packed["current_model_state"]["net.layer1.0.conv1.weight"]
    checkpoint = read_checkpoint(last(averaged))
    weights = checkpoint["current_model_state"]
    for name, tensor in plain.module.state_dict().items():
        assert torch.equal(weights[name], tensor), name
    assert plain.masks.sha256() == averaged.masks.sha256()
    for name, tensor in averaged.module.state_dict().items():  # a checkpoint's weights are the average
        assert torch.equal(checkpoint["state_dict"][name], tensor), name


@pytest.mark.parametrize("step", [4, 10])
def test_resumes_to_the_bit(build: Build, step: int) -> None:
    """After an update of the masks in the middle of an epoch; at the end of the run."""
    overrides = (*AVERAGED, MOVING, "checkpoint.every_n_steps=1")
    whole = build(*overrides, folder="whole")
    fit(whole)

    class Stop(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_) -> None:
            if trainer.global_step == step:
                raise KeyboardInterrupt

    first = build(*overrides, folder="parts")
    first.trainer.callbacks.append(Stop())
    with pytest.raises((KeyboardInterrupt, SystemExit)) if step < 10 else nullcontext():
        fit(first)
    second = build(*overrides, folder="parts")
    fit(second, last(second))
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(second.module.state_dict()[name], tensor), name


def test_the_best_checkpoint_is_loaded_as_it_is(build: Build) -> None:
    """After the fit, validation and test look at the weights that were asked for, not at the last average."""
    run = build(*AVERAGED)
    fit(run)
    path = last(run)
    checkpoint = read_checkpoint(path)
    for tensor in checkpoint["state_dict"].values():
        tensor.zero_()
    torch.save(checkpoint, path)
    for judge in (run.trainer.validate, run.trainer.test):
        judge(run.module, run.data, ckpt_path=path, verbose=False, weights_only=True)
        assert all(not parameter.any() for parameter in run.net.parameters())


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_the_average_must_leave_the_weights_of_the_first_step(decay: float) -> None:
    """After 1 / (1 - decay) steps, torch's average has a share of at most a half of them, and of no less than 1/e."""
    steps, ema = round(1 / (1 - decay)), EMA(decay)
    ema.check_steps(steps)
    first, later = torch.ones(()), torch.zeros(())
    for _ in range(steps - 1):
        first = get_ema_avg_fn(decay)(first, later, 1)
    assert steps == 1 or 1 / e <= first <= 0.5 + 1e-6
    if steps > 1:
        with pytest.raises(UserError, match=rf"callbacks.ema.decay is {decay}; expected at most .* = {steps} steps"):
            ema.check_steps(steps - 1)
