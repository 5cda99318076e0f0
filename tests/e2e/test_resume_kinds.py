"""Every kind of sparsifier, and the average of weights, goes on after SIGKILL as if there had been none."""

import pytest

INTERVAL = ("sparsifier.update_interval=4",)
KINDS = {
    "none": (),
    "gmp": INTERVAL,  # its density changes
    "rigl pattern=block": INTERVAL,  # it has a pattern
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
