"""Two ranks, each with a part of the network, train as two ranks that have all of it."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from .programs import lasting, metrics, network_state, quick, results, saved_masks

NET = ("model._target_=tiny_nets.dropout", "dataset.batch_size=64", "recipe.optimizer.lr=0.05")
"""Dropout and batch norms. Masks move in steps 2, 4 and 6 of 10."""

RANKS = ("trainer.accelerator=cpu", "trainer.devices=2")
UNFUSED = "+recipe.optimizer.fused=false"
"""Torch has no fused step of SGD for sharded weights. Fused steps of Adam round by the place of a weight in memory."""
ADAMW = ("recipe.optimizer._target_=torch.optim.AdamW", "~recipe.optimizer.momentum", "~recipe.optimizer.nesterov")


@pytest.fixture
def on_two_ranks(program, tmp_path) -> Callable[..., Path]:
    """The folder of a run on two ranks."""

    def run(name: str, *overrides: str) -> Path:
        arguments = quick(*NET, *RANKS, *overrides, f"hydra.run.dir={name}")
        outcome = program("ranks_run", arguments, tmp_path, ranks=2)
        assert outcome.code == 0, outcome
        return tmp_path / name

    return run


def test_masks_and_optimizers_of_sharded_weights_are_those_of_whole_ones(program, tmp_path) -> None:
    """On three ranks, whose parts are of unequal size."""
    outcome = program("sharded_masks", [], tmp_path, ranks=3)
    assert outcome.code == 0, outcome
    assert outcome.out == "all checks passed\n"


@pytest.mark.parametrize(
    "how",
    [
        (UNFUSED,),
        (UNFUSED, *ADAMW, "member=sparse_parallel", "sparsifier=set"),
        (UNFUSED, "member=sparse_doped", "sparsifier=gmp", "sparsifier.update_interval=2", "export=true"),
    ],
    ids=["rigl", "set", "gmp"],
)
def test_bits_are_those_of_whole_weights(on_two_ranks, how: tuple[str, ...]) -> None:
    sharded, whole = on_two_ranks("sharded", "trainer=fsdp", *how), on_two_ranks("whole", "trainer=ddp", *how)
    assert lasting(sharded) == lasting(whole)
    assert metrics(sharded) == metrics(whole)
    assert (sharded / "model.pt2").exists() == (whole / "model.pt2").exists() == ("export=true" in how)
    for name, value in network_state(whole).items():
        assert torch.equal(network_state(sharded)[name], value)
    of_all = [json.loads((whole / f"rank_{rank}.json").read_text()) for rank in (0, 1)]
    parts = [json.loads((sharded / f"rank_{rank}.json").read_text()) for rank in (0, 1)]
    assert [part["masks"] for part in parts] == [each["masks"] for each in of_all]
    for kind in ("gradients", "masks"):
        assert sum(part["stored"][kind] for part in parts) == of_all[0]["stored"][kind]
        assert all(part["stored"][kind] < 0.6 * of_all[0]["stored"][kind] for part in parts)


def test_accumulation_clipping_and_bfloat16_differ_by_rounding(on_two_ranks) -> None:
    how = ("trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=0.1", "trainer.precision=bf16-mixed")
    how = (*how, "sparsifier=static")
    sharded, whole = on_two_ranks("sharded", "trainer=fsdp", *how), on_two_ranks("whole", "trainer=ddp", *how)
    assert results(sharded)["steps"] == results(whole)["steps"] == 5
    assert results(sharded)["masks_sha256"] == results(whole)["masks_sha256"]
    for name, value in network_state(whole).items():
        assert torch.allclose(network_state(sharded)[name], value, atol=1e-4)


def test_a_network_without_masks(on_two_ranks, program, tmp_path) -> None:
    found = []
    for trainer in ("fsdp", "ddp"):
        arguments = quick(*NET, *RANKS, UNFUSED, "member=dense", f"trainer={trainer}", f"hydra.run.dir={trainer}")
        assert program("sparseift.train", arguments, tmp_path, ranks=2).code == 0
        found.append(lasting(tmp_path / trainer))
    assert found[0] == found[1]


RESUMED = ("recipe.epochs=2", "checkpoint.every_n_steps=3", "checkpoint.test=best", UNFUSED)
"""20 steps; masks move in steps 2, 4, ..., 14."""


@pytest.fixture
def killed(program, tmp_path) -> None:
    """A run on two ranks that dies in step 14, after checkpoints in steps 3, 6, 9, 10 and 12."""
    arguments = ["on_before_optimizer_step", "13", *quick(*NET, *RANKS, *RESUMED, "trainer=fsdp", "hydra.run.dir=run")]
    assert program("killed_run", arguments, tmp_path, ranks=2).code == -signal.SIGKILL


def test_a_killed_run_ends_as_if_it_was_not(killed, on_two_ranks, tmp_path) -> None:
    whole = on_two_ranks("whole", "trainer=fsdp", *RESUMED)
    run = on_two_ranks("run", "trainer=fsdp", *RESUMED, "resume=auto")
    assert lasting(run) == lasting(whole)
    assert metrics(run) == metrics(whole)


@pytest.mark.parametrize("trainer", ["fsdp", "cpu"])
def test_a_run_resumes_on_one_rank(killed, program, tmp_path, trainer: str) -> None:
    """The rest of the training, and the bits of neither: dropout draws other numbers on one rank."""
    net = [option for option in NET if "batch_size" not in option]
    one = ("dataset.batch_size=128", f"trainer={trainer}", "trainer.accelerator=cpu", "trainer.devices=1")
    arguments = quick(*net, *RESUMED, *one, "resume=auto", "hydra.run.dir=run")
    outcome = program("sparseift.train", arguments, tmp_path)
    assert outcome.code == 0, outcome
    run = results(tmp_path / "run")
    assert (run["steps"], run["epochs"], run["mask_updates"]) == (20, 2, 7)
    assert [row["step"] for row in metrics(tmp_path / "run") if "masks/density" in row] == [
        str(step - 1) for step in (1, 2, 4, 6, 8, 10, 12, 14)
    ]
    assert saved_masks(tmp_path / "run").keys() == {layer["name"] for layer in run["layers"][1:-1]}


def test_no_host_waits_for_a_device_in_a_step_between_updates(program, tmp_path) -> None:
    """Four layers, and the norms together, are gathered twice and have their gradients reduced; the hosts agree."""
    arguments = quick(*NET, *RANKS, "trainer=fsdp", "trainer.log_every_n_steps=1000", "hydra.run.dir=run")
    outcome = program("ranks_run", arguments, tmp_path, ranks=2, WAITS="1")
    assert outcome.code == 0, outcome
    for rank in (0, 1):
        watched = json.loads((tmp_path / f"run/rank_{rank}.json").read_text())["watched"]
        assert len(watched) > 5
        assert [step for step in watched if step["waits"] or len(step["exchanges"]) > 5 * 3 + 1] == []


WHOLE = {
    "trainer.precision=16-true": "trainer.precision is '16-true'; expected one of 32-true, bf16-mixed with",
    "trainer.compile=true": "trainer.compile is True; expected false with trainer.strategy=fsdp",
    "trainer.send_active_gradients=true": "trainer.send_active_gradients is True; expected false with",
    "backend=sparse": "backend is 'Sparse'; expected masked with trainer.strategy=fsdp",
    "sparsifier=snip": "sparsifier is 'SNIP'; expected a sparsifier that needs no batches before training",
    "callbacks=[ema]": "callbacks is 'EMA'; expected none that needs whole weights with trainer.strategy=fsdp",
    "callbacks=[histograms]": "callbacks is 'Histograms'; expected none that needs whole weights",
    "recipe.optimizer._target_=torch.optim.Adafactor ~recipe.optimizer.momentum ~recipe.optimizer.nesterov": (
        "recipe.optimizer is 'Adafactor'; expected one of ASGD, Adadelta"
    ),
}


@pytest.mark.parametrize("override", WHOLE)
def test_what_needs_whole_weights_is_refused(program, tmp_path, override: str) -> None:
    arguments = quick(*NET, *RANKS, "trainer=fsdp", *override.split(), "hydra.run.dir=run")
    assert program("sparseift.train", arguments, tmp_path).mistake().startswith(WHOLE[override])
    assert not (tmp_path / "run").exists()
