"""Damaged files in a folder that is resumed, with the real command line. scripts/reliability bits has many more."""

import shutil
from pathlib import Path

import pytest
import torch

from .programs import checkpoint, lasting, metrics, results

RUN = ("model._target_=tiny_nets.dropout", "recipe.epochs=2", "checkpoint.every_n_steps=3", "sparsity=0.5")


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    shutil.copytree(trained(*RUN), tmp_path / "run")
    return tmp_path / "run"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def resume(train, *overrides: str):
    return train(*RUN, *overrides, "resume=auto", "hydra.run.dir=run")


def test_a_flipped_bit_of_the_last_checkpoint(folder, train, trained) -> None:
    (folder / "results.json").unlink()
    flip(folder / "checkpoints/last.ckpt")
    outcome = resume(train)
    assert outcome.code == 0, outcome
    assert outcome.err.startswith("sparseift: ") and outcome.err.count("\n") == 1
    assert "last.ckpt is damaged" in outcome.err and "using" in outcome.err
    assert "epoch 2/2" in outcome.out
    assert lasting(folder) == lasting(trained(*RUN)) and metrics(folder) == metrics(trained(*RUN))


@pytest.mark.parametrize("name", ["results.json", ".hydra/config.yaml"])
def test_files_of_a_finished_run_are_written_again(folder, train, trained, name: str) -> None:
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(before[: len(before) // 2] + b"\0\xff{" + before[len(before) // 2 :])
    outcome = resume(train)
    assert outcome.code == 0, outcome
    assert f"{name.rpartition('/')[2]} is damaged" in outcome.err and "epoch 2/2" not in outcome.out
    assert lasting(folder) == lasting(trained(*RUN)) and metrics(folder) == metrics(trained(*RUN))


def test_a_finished_run_without_checkpoints_is_kept(folder, train) -> None:
    flip(folder / "results.json")
    shutil.rmtree(folder / "checkpoints")
    damaged = (folder / "results.json").read_bytes()
    assert "results.json is damaged" in resume(train).mistake()
    assert (folder / "results.json").read_bytes() == damaged


@pytest.mark.parametrize("content", [None, b"", b"step\n\0\xff", b'"step'])
def test_metrics_come_from_the_checkpoint(folder, train, trained, content: bytes | None) -> None:
    (folder / "results.json").unlink()
    (folder / "metrics.csv").unlink() if content is None else (folder / "metrics.csv").write_bytes(content)
    assert resume(train).code == 0
    assert metrics(folder) == metrics(trained(*RUN))


def test_a_damaged_best_checkpoint_is_told_before_training(folder, train) -> None:
    (folder / "results.json").unlink()
    flip(folder / "checkpoints/best.ckpt")
    told = resume(train, "checkpoint.test=best").mistake()
    assert "best.ckpt is damaged" in told and "resume with checkpoint.test=last" in told
    assert resume(train).code == 0


def test_a_damaged_best_checkpoint_is_not_copied(folder, train, tmp_path) -> None:
    flip(folder / "checkpoints/best.ckpt")
    outcome = train(*RUN, "resume=run", "hydra.run.dir=other")
    assert outcome.code == 0 and "best.ckpt is damaged" in outcome.err, outcome
    assert not (tmp_path / "other/checkpoints/best.ckpt").exists()


@pytest.mark.parametrize(
    ("lacks", "told"),
    [
        (("loops",), "has no loops; expected a checkpoint that sparseift.train has written"),
        (("loops", "fit_loop", "epoch_progress", "current"), "cannot be resumed from: KeyError: 'current'"),
        (("callbacks", "MaskCallback"), "is not a checkpoint of sparseift.train: "),
        (("callbacks", "MaskCallback", "active"), "cannot be resumed from: KeyError: 'active'"),
        (("callbacks", "RngState", "numpy"), "cannot be resumed from"),
        (("optimizer_states", 0, "param_groups"), "cannot be resumed from"),
        (("state_dict", "net.0.weight"), "cannot be resumed from: RuntimeError"),
    ],
    ids=str,
)
def test_a_checkpoint_that_lacks_a_part(folder, train, lacks: tuple[str, ...], told: str) -> None:
    (folder / "results.json").unlink()
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    inner = saved
    for key in lacks[:-1]:
        inner = inner[key]
    del inner[lacks[-1]]
    torch.save(saved, folder / "checkpoints/last.ckpt")
    outcome = resume(train)
    assert outcome.code == 2 and told in outcome.err.splitlines()[-1], outcome
    assert "Traceback" not in outcome.err


def test_results_that_are_not_finite_are_null(train, tmp_path) -> None:
    """The loss of the evaluated network is NaN, its accuracy is not."""
    outcome = train("model._target_=tiny_nets.nan_when_evaluated", "member=dense", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    found = results(tmp_path / "run")
    assert found["test"]["loss"] is found["val"]["loss"] is None and found["test"]["acc1"] >= 0
    assert "NaN" not in (tmp_path / "run/results.json").read_text()


def test_a_metric_that_is_not_finite_ends_the_run_but_loses_nothing(program, tmp_path) -> None:
    users = ("--config-dir", str(Path(__file__).parent / "toy"), "dataset=lines", "model=toy", "trainer=cpu")
    net = ("model._target_=toy_task.NanWhenEvaluated", "member=dense")
    overrides = (*net, "recipe.epochs=1", "hydra.run.dir=run", "resume=auto")
    for _ in range(2):  # the second time, only the test is repeated
        outcome = program("sparseift.train", [*users, *overrides], tmp_path)
        told = outcome.err.splitlines()[-1]
        assert outcome.code == 2 and told.startswith("sparseift: test/mae is not finite, so there is no results.json")
        assert (tmp_path / "run/error.txt").read_text().startswith("test/mae is not finite")
        assert checkpoint(tmp_path / "run")["global_step"] > 0
        assert (tmp_path / "run/model.pt2").exists() and not (tmp_path / "run/results.json").exists()
