"""Two ranks on the CPU train as one process does with batches of twice the size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .programs import HERE, Outcome, environment, files, network_state, once, quick, results, saved_masks

# Without norms, batches of 2 x 64 images have the gradients of one of 128. Masks move in steps 2, 4, ..., 14 of 20.
NET = (
    "model._target_=tiny_nets.normless",
    "recipe.epochs=2",
    "sparsifier.update_interval=2",
    "recipe.optimizer.lr=0.05",
)


@pytest.fixture(scope="module")
def two_ranks(shared) -> Path:
    """The folder of a run on two ranks, started as a user starts it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        overrides = quick(*NET, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "dataset.batch_size=64")
        command = [sys.executable, str(HERE / "ranks_run.py"), *overrides, "hydra.run.dir=run"]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=250)
        (folder / "out.txt").write_text(done.stdout)
        assert done.returncode == 0, Outcome(done.returncode, done.stdout, done.stderr)

    return once(shared / "two_ranks", make)


def test_one_folder_and_one_result(two_ranks) -> None:
    assert [path.name for path in two_ranks.iterdir() if path.is_dir()] == ["run"]
    assert sorted(name for name in files(two_ranks) if name.endswith("results.json")) == ["run/results.json"]
    assert (two_ranks / "out.txt").read_text().count("test top-1") == 1
    assert {"run/metrics.csv", "run/checkpoints/last.ckpt"} <= files(two_ranks)


def test_steps_and_samples(two_ranks) -> None:
    run = results(two_ranks / "run")
    assert (run["steps"], run["epochs"]) == (20, 2)
    ranks = [json.loads((two_ranks / f"run/rank_{rank}.json").read_text()) for rank in (0, 1)]
    assert [rank["images"] for rank in ranks] == 2 * [2 * ([64] * 9 + [43])]
    forward, stored = run["flops"]["forward"], run["flops"]["forward_stored"]
    grown = 6 * 128 + 86  # steps 2, ..., 14, of which the tenth has the rest of an epoch
    assert run["flops"]["train_total"] == 3 * forward * 2 * 1238 + (stored - forward) * grown


def test_masks_are_the_same_on_both_ranks(two_ranks) -> None:
    ranks = [json.loads((two_ranks / f"run/rank_{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0]["masks"] == ranks[1]["masks"] == results(two_ranks / "run")["masks_sha256"]


def test_growth_is_by_the_gradients_of_all_ranks(two_ranks, trained) -> None:
    one = trained(*NET, "dataset.batch_size=128")
    both, single = saved_masks(two_ranks / "run"), saved_masks(one)
    assert all(torch.equal(both[name], bits) for name, bits in single.items())
    weights, twice = network_state(one), network_state(two_ranks / "run")
    assert all(torch.allclose(value, weights[name], atol=1e-4) for name, value in twice.items())
    assert results(two_ranks / "run")["flops"] == results(one)["flops"]


@pytest.mark.parametrize("how", ["trainer=ddp", "trainer.strategy=auto"])
def test_a_sweep_on_several_devices_is_refused(program, tmp_path, how: str) -> None:
    overrides = quick(*NET, "trainer.accelerator=cpu", "trainer.devices=2", "seed=0,1", "hydra.sweep.dir=sweep")
    changed = [override for override in overrides if override.partition("=")[0] != how.partition("=")[0]]
    outcome = program("sparseift.train", ["-m", *changed, how], tmp_path)
    assert outcome.code in (1, 2), outcome
    assert "Traceback" not in outcome.err and "without -m" in outcome.err
    assert not list(tmp_path.rglob("results.json"))
