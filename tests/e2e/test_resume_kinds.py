"""Every sparsifier, and the average of weights, goes on after SIGKILL as if there had been none."""

import pytest

from sparseift.cli import config_folder

INTERVAL = {"sparsifier.update_interval=4"}
OPTIONS = {
    "dense_warmup": {"sparsifier.then.update_interval=4", "sparsifier.until=0.4"},
    "force": {"sparsifier.iterations=6"},
    "gmp": INTERVAL,
    "granet": INTERVAL,
    "rigl": INTERVAL,
    "rigl_block": INTERVAL,
    "rigl_itop": INTERVAL,
    "rigl_nm": INTERVAL | {"sparsifier.pattern.tolerance=0.1"},
    "set": INTERVAL,
    "set_itop": INTERVAL,
}
NET = ("model._target_=tiny_nets.dropout", "model.base_width=16", "recipe.epochs=2", "checkpoint.every_n_steps=3")
SPARSIFIERS = sorted(file.stem for file in (config_folder() / "sparsifier").glob("*.yaml"))


@pytest.mark.parametrize("sparsifier", SPARSIFIERS)
def test_sparsifiers(trained, killed, finish, sparsifier: str) -> None:
    overrides = (*NET, f"sparsifier={sparsifier}", *sorted(OPTIONS.get(sparsifier, ())))
    killed("on_train_batch_start", 14, *overrides)
    assert finish(trained(*overrides), *overrides) == [2]


def test_average_of_weights(trained, killed, finish) -> None:
    overrides = (*NET, "callbacks=[ema]", "callbacks.ema.decay=0.9", *INTERVAL)
    killed("on_train_batch_start", 14, *overrides)
    assert finish(trained(*overrides), *overrides) == [2]
