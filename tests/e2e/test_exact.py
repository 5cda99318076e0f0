"""The program: masks hold to the end, or there are no results."""

import pytest

from .programs import results

SPARSE = ("member=sparse_wide", "model._target_=tiny_nets.normless")


def test_no_results_of_a_network_that_is_not_sparse(train, tmp_path) -> None:
    outcome = train("+callbacks.noise._target_=toy_callbacks.Noise", *SPARSE, "hydra.run.dir=run")
    assert outcome.code == 2 and "Traceback" not in outcome.err
    said = "masked weights of 3, 7 are not zero after training: a callback or the backend has changed them"
    assert outcome.err.splitlines()[-1] == f"sparseift: {said}"
    assert said in (tmp_path / "run/error.txt").read_text() and not (tmp_path / "run/results.json").exists()
    outcome = train("+callbacks.noise._target_=toy_callbacks.Noise", *SPARSE, "sparsifier=none", "hydra.run.dir=dense")
    assert outcome.code == 0 and results(tmp_path / "dense")["masks_sha256"] is None


@pytest.mark.parametrize("seed", [0, 2])
def test_layers_that_are_skipped_at_random_train_with_the_default_optimizer(train, tmp_path, seed: int) -> None:
    outcome = train("model._target_=tiny_nets.layerdrop", "member=sparse_parallel", f"seed={seed}", "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    assert results(tmp_path / "run")["steps"] == 10
