"""Runs that end before their last epoch are finished, and say what is missing; debugging runs say what they are."""

import pytest

from .programs import UPDATES, lasting, results

TINY = "model._target_=tiny_nets.dropout"
STOPPING = (
    TINY,
    "recipe.epochs=4",
    "+callbacks.stop={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:val/loss,patience:1,min_delta:100}",
)
"""The second epoch is no better by 100, so the run ends after step 20 of 40."""


def finished(train, tmp_path, *overrides: str) -> None:
    before = (tmp_path / "run/results.json").read_bytes()
    outcome = train(*overrides, "resume=auto", "hydra.run.dir=run")
    assert outcome.code == 0 and outcome.out.startswith("already finished: "), outcome
    assert (tmp_path / "run/results.json").read_bytes() == before


def test_an_early_stopped_run_stays_finished(train, tmp_path) -> None:
    outcome = train(*STOPPING, "sparsifier=gmp", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    run = results(tmp_path / "run")
    assert (run["epochs"], run["steps"], run["planned_steps"], run["partial"]) == (2, 20, 40, None)
    assert run["flops"]["ratio"] > 1.1  # the masks are pruned until step 27
    said = f"training ended in step 20 of 40, before the masks were as sparse as planned: {run['flops']['ratio']:.4f}"
    assert said in outcome.out
    finished(train, tmp_path, *STOPPING, "sparsifier=gmp")
    finished(train, tmp_path, *STOPPING, "sparsifier=gmp", "recipe.epochs=6")


@pytest.mark.parametrize(("hook", "step", "epochs"), [("on_train_epoch_start", 10, [2]), ("on_test_start", 20, [])])
def test_a_killed_run_stops_where_the_uninterrupted_one_does(trained, killed, finish, hook, step, epochs) -> None:
    killed(hook, step, *STOPPING)
    assert finish(trained(*STOPPING), *STOPPING) == epochs


@pytest.mark.parametrize(
    ("limit", "steps"),
    [("+trainer.max_steps=14", 14), ("trainer.max_epochs=1", 10), ("+trainer.limit_train_batches=3", 6)],
)
def test_a_run_on_part_of_the_data_is_marked(train, tmp_path, limit: str, steps: int) -> None:
    overrides = (TINY, "recipe.epochs=2", limit)
    outcome = train(*overrides, "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    run = results(tmp_path / "run")
    assert (run["steps"], run["partial"]) == (steps, limit.lstrip("+"))
    assert f"partial run: {limit.lstrip('+')}" in outcome.out
    finished(train, tmp_path, *overrides)


def test_fast_dev_run_needs_no_mask_update(train, tmp_path) -> None:
    outcome = train(TINY, "sparsifier.update_interval=100", "+trainer.fast_dev_run=true", "hydra.run.dir=run")
    assert outcome.code == 0 and "masks never move in the 1 steps of this run" in outcome.out, outcome
    assert results(tmp_path / "run")["partial"] == "trainer.fast_dev_run=True"


def test_a_limit_that_is_not_reached_leaves_no_mark(trained) -> None:
    run = lasting(trained(TINY, "+trainer.max_steps=10"))
    assert run == lasting(trained(TINY)) and run["partial"] is None


def test_the_number_of_mask_updates(trained, train) -> None:
    moving, still = trained(TINY, UPDATES), trained(TINY, "sparsifier=static")
    assert results(moving)["mask_updates"] == 3 and results(still)["mask_updates"] == 0
    assert results(trained(TINY, "member=dense"))["mask_updates"] is None
    outcome = train(TINY, UPDATES)
    assert outcome.out.splitlines()[0] == "masks move 3 times: every 2 steps until step 6 of 10"


def test_out_of_memory_is_one_line(train, tmp_path) -> None:
    outcome = train("model._target_=tiny_nets.too_large", "hydra.run.dir=run")
    assert outcome.code == 2 and "Traceback" not in outcome.err, outcome
    told = outcome.err.splitlines()[-1]
    assert told.startswith("sparseift: out of memory on cpu: weights ") and "masks " in told
    assert "try dataset.batch_size=64 trainer.accumulate_grad_batches=2, or trainer.precision=bf16-mixed" in told
    assert (tmp_path / "run/error.txt").read_text().count("out of memory") == 1
