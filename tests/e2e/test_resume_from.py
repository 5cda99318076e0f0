"""What resume=PATH and resume=auto take, and what they refuse."""

import shutil
from math import cos, pi
from pathlib import Path

import pytest

from .programs import UPDATES, checkpoint, files, lasting, metrics, results

RUN = ("model._target_=tiny_nets.dropout", "recipe.epochs=2", "checkpoint.every_n_steps=3", "sparsity=0.5")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.fixture
def interrupted(trained, tmp_path) -> Path:
    """A copy of a run's folder as a run leaves it that dies in its last epoch: last.ckpt is of step 18."""
    folder = tmp_path / "run"
    shutil.copytree(trained(*RUN), folder)
    (folder / "results.json").unlink()
    (folder / "checkpoints/previous.ckpt").replace(folder / "checkpoints/last.ckpt")
    assert checkpoint(folder)["global_step"] == 18
    return folder


@pytest.mark.parametrize("path", ["", "checkpoints", "checkpoints/last.ckpt"])
def test_a_run_or_a_checkpoint_by_its_path(trained, interrupted, train, tmp_path, path: str) -> None:
    outcome = train(*RUN, f"resume={interrupted / path}", "hydra.run.dir=other")
    assert outcome.code == 0, outcome
    assert "epoch 1/2" not in outcome.out and "epoch 2/2" in outcome.out
    assert lasting(tmp_path / "other") == lasting(trained(*RUN))


@pytest.mark.parametrize("path", ["", "checkpoints/last.ckpt"])
def test_a_truncated_checkpoint_gives_way_to_the_one_before_it(trained, interrupted, train, path: str) -> None:
    last = interrupted / "checkpoints/last.ckpt"
    shutil.copy(last, last.with_name("previous.ckpt"))
    last.write_bytes(last.read_bytes()[:-1000])
    outcome = train(*RUN, f"resume={interrupted / path if path else 'auto'}", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    assert "last.ckpt is damaged" in outcome.err
    assert lasting(interrupted) == lasting(trained(*RUN))


def test_two_truncated_checkpoints(interrupted, train, tmp_path) -> None:
    for name in ("last.ckpt", "previous.ckpt"):
        (interrupted / "checkpoints" / name).write_bytes(b"PK\3\4")
    assert "last.ckpt is damaged" in train(*RUN, f"resume={interrupted}").mistake()
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("sparsity=0.75", "sparsity=0.5; this run has sparsity=0.75"),
        ("member=sparse_parallel", "member=sparse_wide; this run has member=sparse_parallel"),
        ("seed=1", "seed=0; this run has seed=1"),
        ("sparsifier=set", "sparsifier=rigl; this run has sparsifier=set"),
        ("sparsifier=none", "distribution=uniform; this run has distribution=None"),
        ("recipe.optimizer.lr=0.9", "recipe.optimizer.lr=0.1; this run has recipe.optimizer.lr=0.9"),
        ("pattern=block", "pattern=unstructured; this run has pattern=block"),
        ("pattern._target_=mine.Pattern", "pattern=unstructured; this run has pattern=mine.Pattern"),
        ("task._target_=mine.Task", "task=classification; this run has task=mine.Task"),
        ("dataset.split_seed=7", "dataset.split_seed=0; this run has dataset.split_seed=7"),
        ("dataset.batch_size=64", "dataset.batch_size=128; this run has dataset.batch_size=64"),
        ("recipe.epochs=1", "recipe.epochs=2; this run has recipe.epochs=1"),
    ],
)
def test_another_run_is_refused(interrupted, train, tmp_path, override: str, told: str) -> None:
    overrides = [*(own for own in RUN if own.partition("=")[0] != override.partition("=")[0]), override]
    before = contents(interrupted)
    assert told in train(*overrides, f"resume={interrupted}", "hydra.run.dir=other").mistake()
    assert contents(interrupted) == before
    assert not (tmp_path / "other").exists()


def test_another_optimizer_is_refused(interrupted, train) -> None:
    """After a line on the options of SGD that Adam does not take."""
    outcome = train(*RUN, "recipe.optimizer._target_=torch.optim.Adam", f"resume={interrupted}", "hydra.run.dir=other")
    assert outcome.code == 2
    assert "recipe.optimizer._target_=torch.optim.SGD; this run has" in outcome.err.splitlines()[-1]


def test_a_refused_run_leaves_its_own_folder_as_it_was(interrupted, train) -> None:
    before = contents(interrupted)
    train(*RUN[:-1], "sparsity=0.75", "resume=auto", "hydra.run.dir=run").mistake()
    assert contents(interrupted) == before


@pytest.mark.parametrize("how", ["auto", "run", "run/checkpoints/last.ckpt"])
def test_a_finished_run_says_so_and_is_left_alone(trained, train, tmp_path, how: str) -> None:
    shutil.copytree(trained(*RUN), tmp_path / "run")
    before = contents(tmp_path / "run")
    outcome = train(*RUN, f"resume={how}", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    assert "already finished" in outcome.out
    after = contents(tmp_path / "run")
    told = {".hydra/overrides.yaml", ".hydra/hydra.yaml", ".hydra/config.yaml"}  # Hydra notes the command line itself
    assert {name for name in before if before[name] != after[name]} <= told


@pytest.mark.parametrize(
    ("override", "before"),
    [("sparsity=0.75", "sparsity=0.5"), ("sparsifier.update_interval=7", UPDATES)],
)
def test_a_finished_run_of_other_settings_is_not_taken_for_this_one(trained, train, tmp_path, override, before) -> None:
    shutil.copytree(trained(*RUN), tmp_path / "run")
    told = train(*RUN, override, "resume=auto", "hydra.run.dir=run").mistake()
    assert f"{before}; this run has {override}" in told


def test_a_run_that_goes_on_for_longer_follows_the_schedule_of_the_longer_run(trained, train, tmp_path) -> None:
    shutil.copytree(trained(*RUN, "trainer.log_every_n_steps=1"), tmp_path / "run")
    outcome = train(*RUN, "trainer.log_every_n_steps=1", "recipe.epochs=4", "resume=auto", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    rates = {int(row["step"]): float(row["lr-SGD"]) for row in metrics(tmp_path / "run") if row.get("lr-SGD")}
    wanted = [0.1, 0.05, 0.05 * (1 + cos(pi * 2 / 4)), 0.05 * (1 + cos(pi * 3 / 4))]  # of 2 epochs, then of 4
    assert [rates[step] for step in (5, 15, 25, 35)] == pytest.approx(wanted)


def test_the_best_weights_so_far_go_along(trained, train, tmp_path) -> None:
    """A run that is resumed elsewhere and reads the test set with its best weights has them."""
    settings = (*RUN, "checkpoint.test=best")
    whole = trained(*settings)
    best = checkpoint(whole, "best")["global_step"]
    shutil.copytree(whole, tmp_path / "run")
    outcome = train(*settings, "resume=run", "hydra.run.dir=other")
    assert outcome.code == 0, outcome
    assert checkpoint(tmp_path / "other")["global_step"] == 20
    assert best == 20 or results(tmp_path / "other")["weights_sha256"] == results(whole)["weights_sha256"]
