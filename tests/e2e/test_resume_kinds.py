"""Every kind of sparsifier, and the average of weights, goes on after SIGKILL as if there had been none."""

import pytest

from .programs import metrics, results

INTERVAL = ("sparsifier.update_interval=4",)
KINDS = {
    "none": (),
    "gmp": INTERVAL,  # its density changes
    "rigl pattern=block": INTERVAL,  # it has a pattern
    "rigl backend=sparse": INTERVAL,  # other kernels compute
    "gmp backend=auto": INTERVAL,  # they are chosen by measured times
    "snip": (),  # it chooses from data, once
    "static": (),
}
NET = ("model._target_=tiny_nets.dropout", "model.base_width=16", "recipe.epochs=2", "checkpoint.every_n_steps=3")


@pytest.mark.parametrize("sparsifier", KINDS)
def test_sparsifiers(trained, killed, finish, sparsifier: str) -> None:
    overrides = (*NET, *f"sparsifier={sparsifier}".split(), *KINDS[sparsifier])
    killed("on_train_batch_start", 14, *overrides)
    assert finish(trained(*overrides), *overrides) == [2]


def test_average_of_weights(trained, killed, finish) -> None:
    overrides = (*NET, "callbacks=[ema]", "callbacks.ema.decay=0.9", *INTERVAL)
    killed("on_train_batch_start", 14, *overrides)
    assert finish(trained(*overrides), *overrides) == [2]


def test_a_run_that_changes_its_backend_keeps_its_masks_and_goes_on(killed, train, tmp_path) -> None:
    overrides = (*NET, *INTERVAL)
    killed("on_train_batch_start", 14, *overrides)
    assert train(*overrides, "backend=sparse", "resume=auto", "hydra.run.dir=run").code == 0
    run = results(tmp_path / "run")
    assert run["backend"] == "sparse" and run["epochs"] == 2


def test_gradual_pruning_that_is_resumed_with_more_epochs_ends_with_the_plan(trained, killed, train, tmp_path) -> None:
    """Of 40 steps, pruning takes 27. It had reached step 10 of a run in which it would have taken 13."""
    overrides = ("model._target_=tiny_nets.dropout", "sparsifier=gmp", "sparsifier.update_interval=1")
    killed("on_train_epoch_start", 10, *overrides, "recipe.epochs=2")
    outcome = train(*overrides, "recipe.epochs=4", "resume=auto", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    run, planned = results(tmp_path / "run"), results(trained("model._target_=tiny_nets.dropout", "sparsifier=static"))
    assert run["layers"] == planned["layers"] and run["flops"]["ratio"] == planned["flops"]["ratio"]
    assert max(int(row["step"]) + 1 for row in metrics(tmp_path / "run") if "masks/replaced" in row) == 27
