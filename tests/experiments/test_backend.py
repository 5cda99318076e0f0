"""A backend of a user's: when it is called, and that training with it is the same."""

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from sparseift import UserError
from sparseift.app.build import TrainingParts
from sparseift.training.callbacks.masks import MaskCallback

Build = Callable[..., TrainingParts]
MOVING = "sparsifier.update_interval=2"
UPDATES = (2, 4, 6)  # of 10 steps
TOY = "backend._target_=toy_backend.Toy"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def backend_of(run: TrainingParts):
    (mask_callback,) = (callback for callback in run.trainer.callbacks if isinstance(callback, MaskCallback))
    return mask_callback.backend


def fit(run: TrainingParts) -> TrainingParts:
    run.trainer.fit(run.module, run.data)
    return run


@pytest.mark.parametrize(
    ("sparsifier", "reads", "batches"), [("rigl", True, 1), ("rigl", True, 2), ("set", False, 1), ("static", False, 1)]
)
def test_it_is_called_at_every_moment_that_matters(build: Build, sparsifier: str, reads: bool, batches: int) -> None:
    updates = () if sparsifier == "static" else UPDATES if batches == 1 else (2,)
    options = () if sparsifier == "static" else (MOVING,)
    epochs = ("recipe.epochs=2", f"trainer.accumulate_grad_batches={batches}")
    run = fit(build(TOY, f"sparsifier={sparsifier}", *options, *epochs))
    toy, calls, steps = backend_of(run), iter(backend_of(run).calls), run.trainer.global_step
    assert toy.asked == [run.net.get_submodule(name) for name in run.masks]
    assert next(calls) == ("attach", set(run.masks))
    micro_batches = [1] * steps if batches == 1 else [2, 2, 1] * 2  # five batches an epoch
    for step, count in enumerate(micro_batches, 1):
        for _ in range(count):
            assert next(calls) == ("dense gradients", reads and step in updates), step
        if step in updates:
            kind, names = next(calls)
            assert kind == "moved" and names
        assert next(calls) == ("mask gradients",)
    assert list(calls) == [("detach",)]
    assert all("forward" not in vars(module) for module in run.net.modules())


def test_training_is_the_same(build: Build) -> None:
    """Its gradients of masked weights are zero but when they are wanted, and then the growth of RigL needs them."""
    masked, toy = fit(build(MOVING, folder="masked")), fit(build(TOY, MOVING, folder="toy"))
    assert masked.masks.sha256() == toy.masks.sha256()
    for name, tensor in masked.net.state_dict().items():
        assert torch.equal(toy.net.state_dict()[name], tensor), name


def test_it_is_detached_when_training_fails(build: Build) -> None:
    class Fail(pl.Callback):
        def on_train_batch_end(self, *_) -> None:
            raise InterruptedError

    run = build(TOY)
    run.trainer.callbacks.append(Fail())
    with pytest.raises(InterruptedError):
        fit(run)
    assert backend_of(run).calls[-1] == ("detach",)


def test_a_refusal_ends_the_run_in_one_line(build: Build) -> None:
    pattern = ("pattern=block", "pattern.tolerance=1.0")
    fit(build(TOY, "+backend.refuse=NofM", *pattern, "recipe.epochs=1", "sparsifier=static"))
    with pytest.raises(UserError, match=r"backend Toy cannot compute layer1\.0\.conv1: it has no kernel") as error:
        build(TOY, "+backend.refuse=Block", *pattern)
    assert "\n" not in str(error.value)


def test_masked_weights_that_it_has_changed_end_the_run(build: Build) -> None:
    run = build("backend._target_=toy_backend.Leaky", "sparsifier=static")
    with pytest.raises(UserError, match=f"^backend Leaky has changed masked weights of {', '.join(run.masks)}$"):
        fit(run)


def test_layers_that_a_backend_refuses_run_as_before(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    run = build("backend=sparse", "sparsifier=static", "recipe.epochs=1")
    first = next(iter(run.masks))
    run.net.get_submodule(first).padding_mode = "circular"
    (callback,) = (one for one in run.trainer.callbacks if isinstance(one, MaskCallback))
    again = MaskCallback(run.masks, run.plan, callback.sparsifier, callback.backend, callback.task, 0)
    assert set(again.refused) == {first}


@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_the_sparse_backend_trains_every_member(build: Build, member: str) -> None:
    """As masks do: the first losses are equal but for rounding."""
    options = (f"member={member}", "recipe.epochs=1", "sparsifier.update_interval=2", "recipe.optimizer.lr=0.01")
    masked, sparse = fit(build(*options, folder="masked")), fit(build(*options, "backend=sparse", folder="sparse"))
    assert not sparse.masks.nonzero_outside()
    losses = [run.trainer.callback_metrics["train/loss"] for run in (masked, sparse)]
    assert torch.isclose(*losses, rtol=1e-3)


@pytest.mark.parametrize("sparsifier", ["set", "gmp", "granet", "static", "snip"])
def test_the_sparse_backend_follows_every_sparsifier(build: Build, sparsifier: str) -> None:
    moves = () if sparsifier in ("static", "snip") else ("sparsifier.update_interval=2",)
    run = fit(build("backend=sparse", f"sparsifier={sparsifier}", *moves))
    assert not run.masks.nonzero_outside()
