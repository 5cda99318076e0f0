"""Two ranks on the CPU train as one process does with batches of twice the size."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

DEVICES = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "dataset.batch_size=64")


@pytest.fixture(scope="module")
def two_ranks(shared) -> Path:
    """The folder of a run on two ranks, started as a user starts it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        overrides = quick(*NET, *DEVICES)
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


@pytest.fixture
def train_on_two_ranks(program, tmp_path) -> Callable[..., dict[str, Any]]:
    """The results of a run, whose processes torchrun starts."""

    def run(*overrides: str) -> dict[str, Any]:
        outcome = program("sparseift.train", quick(*overrides, *DEVICES, "hydra.run.dir=run"), tmp_path, ranks=2)
        assert outcome.code == 0, outcome
        return results(tmp_path / "run")

    return run


@pytest.mark.parametrize("how", ["sparsifier=set", "sparsifier=static", "trainer.accumulate_grad_batches=2"])
def test_masks_are_those_of_one_process(trained, train_on_two_ranks, how: str) -> None:
    options = [option for option in NET if how != "sparsifier=static" or "sparsifier" not in option]
    both = train_on_two_ranks(*options, how)
    one = results(trained(*options, "dataset.batch_size=128", how))
    assert both["masks_sha256"] == one["masks_sha256"]
    assert both["val"] == pytest.approx(one["val"], abs=1e-3)


def test_grown_weights_start_alike_on_both_ranks_under_adam(program, tmp_path) -> None:
    adam = ("recipe.optimizer._target_=torch.optim.AdamW", "~recipe.optimizer.momentum", "~recipe.optimizer.nesterov")
    outcome = program("ranks_run", quick(*NET, *adam, *DEVICES, "hydra.run.dir=run"), tmp_path, ranks=2)
    assert outcome.code == 0, outcome
    first, second = (json.loads((tmp_path / f"run/rank_{rank}.json").read_text()) for rank in (0, 1))
    assert results(tmp_path / "run")["mask_updates"] == 7
    assert first["masks"] == second["masks"] and first["weights"] == second["weights"]


def test_mixed_precision_on_two_ranks_is_that_of_two_micro_batches(trained, train_on_two_ranks) -> None:
    """In bfloat16 gradients are rounded, so that those of 128 images are not the mean of those of 2 x 64 images.
    But two ranks, and one process that adds up two batches, round the same ones. The 1,280 images fill all batches."""
    options = (*NET, "recipe.epochs=1", "trainer.precision=bf16-mixed", "dataset.val_size=158")
    both = train_on_two_ranks(*options)
    one = results(trained(*options, "dataset.batch_size=64", "trainer.accumulate_grad_batches=2"))
    assert both["steps"] == one["steps"] == 10
    assert both["masks_sha256"] == one["masks_sha256"] and both["weights_sha256"] == one["weights_sha256"]


def test_a_mask_that_differs_between_ranks_ends_the_run(program, tmp_path) -> None:
    """It is the very next update that tells, in step 4: the check on the rank itself, or the one between ranks."""
    overrides = quick(*NET, *DEVICES, "hydra.run.dir=run")
    assert program("ranks_run", overrides, tmp_path, ranks=2, CORRUPT="3").code != 0
    told = (tmp_path / "run/error.txt").read_text()
    assert "ranks have different masks of 3 in step 4" in told or "masked weights of 3 are not zero" in told
    assert not (tmp_path / "run/results.json").exists()


@pytest.mark.parametrize("how", ["sparsifier=rigl", "sparsifier=set"])
def test_gradients_of_active_weights_are_enough(program, tmp_path, trained, how: str) -> None:
    """The same bits, and less to send: all gradients in the 7 steps of 20 in which RigL reads them, or in none."""
    options, sent = (*NET, how, "member=dense", "sparsity=0.9"), {}
    for send in ("false", "true"):
        overrides = quick(*options, *DEVICES, f"trainer.send_active_gradients={send}", f"hydra.run.dir=send_{send}")
        outcome = program("ranks_run", overrides, tmp_path, ranks=2)
        assert outcome.code == 0, outcome
        sent[send] = json.loads((tmp_path / f"send_{send}/rank_1.json").read_text())["sent"]
    before, after = (results(tmp_path / f"send_{send}") for send in ("false", "true"))
    assert before["weights_sha256"] == after["weights_sha256"] and before["masks_sha256"] == after["masks_sha256"]
    stored, active = after["params"]["stored"], after["params"]["active"]
    assert active < 0.3 * stored
    dense = 7 if how == "sparsifier=rigl" else 0
    assert sent == {"false": [], "true": [4 * (dense * stored + (20 - dense) * active)]}


def test_no_host_waits_for_a_device_in_a_step_between_updates(program, tmp_path) -> None:
    """The ranks exchange gradients, in one piece for this network, and numbers of their hosts."""
    arguments = quick(*NET, *DEVICES, "trainer.log_every_n_steps=1000", "hydra.run.dir=run")
    outcome = program("ranks_run", arguments, tmp_path, ranks=2, WAITS="1")
    assert outcome.code == 0, outcome
    for rank in (0, 1):
        watched = json.loads((tmp_path / f"run/rank_{rank}.json").read_text())["watched"]
        assert len(watched) > 8
        assert [step for step in watched if step["waits"] or len(step["exchanges"]) > 2] == []


def test_each_rank_has_random_numbers_of_its_own_also_after_a_resume(program, tmp_path) -> None:
    """Of two epochs at once, and of one that is resumed: the same weights, and what each rank would draw next."""
    net = ("model._target_=tiny_nets.dropout", "sparsifier=static", *DEVICES)
    found = []
    for name, parts in (("whole", ["recipe.epochs=2"]), ("parted", ["recipe.epochs=1", "recipe.epochs=2"])):
        for epochs in parts:
            overrides = quick(*net, epochs, "recipe.scheduler=null", "resume=auto", f"hydra.run.dir={name}")
            outcome = program("ranks_run", overrides, tmp_path, ranks=2)
            assert outcome.code == 0, outcome
        ranks = [json.loads((tmp_path / f"{name}/rank_{rank}.json").read_text()) for rank in (0, 1)]
        assert ranks[0]["random"] != ranks[1]["random"] and ranks[0]["weights"] == ranks[1]["weights"]
        found.append((results(tmp_path / name)["weights_sha256"], [rank["random"] for rank in ranks]))
    assert found[0] == found[1]


def sweep_on_two_ranks(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "sparseift.train", "-m", *quick(*NET, *DEVICES, *overrides), "hydra.sweep.dir=sweep"]


def jobs_of(folder: Path) -> list[Path]:
    assert {path.name for path in folder.iterdir()} <= {"sweep", "data"}
    return sorted(path for path in (folder / "sweep").iterdir() if path.is_dir())


def running(mark: str) -> list[str]:
    """Command lines of living processes that hold `mark`."""
    lines = [path.read_bytes().replace(b"\0", b" ").decode() for path in Path("/proc").glob("[0-9]*/cmdline")]
    return [line for line in lines if mark in line]


def test_a_sweep_in_which_jobs_fail(two_ranks, tmp_path) -> None:
    """Whichever rank fails, its job alone fails, and the next one has two ranks of its own."""
    overrides = ["model._target_=tiny_nets.fails_on", "+model.rank=0,1,2", f"+hydra.job.env_set.MARK={tmp_path.name}"]
    command = sweep_on_two_ranks(*overrides)
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 1, Outcome(done.returncode, done.stdout, done.stderr)
    assert "2 of the jobs failed" in done.stderr
    jobs = jobs_of(tmp_path)
    assert [(job / "results.json").exists() for job in jobs] == [False, False, True]
    assert [(job / "error.txt").exists() for job in jobs] == [True, True, False]
    for rank in (0, 1):
        noted = (jobs[rank] / "error.txt").read_text()
        assert noted.startswith("Traceback") and f"rank {rank} fails on purpose" in noted
    assert results(jobs[2])["masks_sha256"] == results(two_ranks / "run")["masks_sha256"]
    assert not running(tmp_path.name)


def heed_ctrl_c() -> None:
    """As on a terminal. Processes of a shell's background jobs, which these tests may be, ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_sweep_that_is_interrupted(tmp_path) -> None:
    """Ctrl-C, which a terminal sends to all processes of the command."""
    command = sweep_on_two_ranks("seed=0,1", "recipe.epochs=500", f"+hydra.job.env_set.MARK={tmp_path.name}")
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=heed_ctrl_c,
    ) as sweep:  # fmt: skip
        assert any(line.startswith("epoch 2/500") for line in sweep.stdout)
        os.killpg(sweep.pid, signal.SIGINT)
        _, told = sweep.communicate(timeout=60)
    assert sweep.returncode == 130
    assert "sparseift: interrupted" in told and "Traceback" not in told
    assert not running(tmp_path.name)
    [job] = jobs_of(tmp_path)
    assert (job / "checkpoints/last.ckpt").exists() and not (job / "results.json").exists()
