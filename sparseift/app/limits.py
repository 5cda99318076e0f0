"""Options of the Trainer that shorten a run, most of them for debugging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..common.checks import integer, require

PARTIAL = ("fast_dev_run", "overfit_batches", "limit_train_batches", "limit_test_batches")
"""Options with which a run trains or is tested on part of the data. `limit_val_batches` affects neither."""

ENDING = ("max_epochs", "max_steps", "max_time")
"""Options that may end a run before its last epoch."""


def limits_of(config: DictConfig) -> dict[str, Any]:
    """Return the options of the Trainer that shorten the run, by dotted key.

    Raises:
        UserError: An option would leave nothing to train on or to test, or train longer than the recipe.
    """
    trainer = OmegaConf.to_container(config.trainer, resolve=True)
    assert isinstance(trainer, dict)
    for name in ("limit_train_batches", "limit_test_batches", "limit_val_batches"):
        _check_batches(f"trainer.{name}", trainer.get(name), 0 if name == "limit_val_batches" else 1)
    _check_batches("trainer.overfit_batches", trainer.get("overfit_batches"), 0)
    epochs, steps, most = config.recipe.epochs, trainer.get("max_steps", -1), steps_of_recipe(config)
    if steps != -1 or most:
        integer("trainer.max_steps", steps, 1, most)
    integer("trainer.max_epochs", trainer["max_epochs"], 1, epochs)
    values = {f"trainer.{name}": trainer.get(name) for name in (*PARTIAL, *ENDING)}
    neutral = {"trainer.max_epochs": epochs, "trainer.max_steps": most or -1}
    return {
        key: value
        for key, value in values.items()
        if value and value != neutral.get(key) and not (isinstance(value, float) and value == 1.0)
    }


def steps_of_recipe(config: DictConfig) -> int | None:
    """Return the optimizer steps after which the recipe ends; None if it ends after its epochs."""
    steps = config.recipe.get("steps", -1)
    return None if steps == -1 else integer("recipe.steps", steps, 1)


def partial_run(limits: Mapping[str, Any], ended_early: bool) -> str | None:
    """Describe why a run is not the whole training and test that its settings describe; None if it is.

    Args:
        limits: The result of `limits_of`.
        ended_early: Whether the run has ended before its last epoch.
    """
    names = PARTIAL + (ENDING if ended_early else ())
    return ", ".join(f"{key}={value}" for key, value in limits.items() if key.removeprefix("trainer.") in names) or None


def _check_batches(name: str, value: Any, least: int) -> None:
    """Check a number of batches: an integer, or a fraction as a float."""
    if value is None:
        return
    expected = f"an integer >= {least}, or a fraction in {'[' if least == 0 else '('}0.0, 1.0]"
    counted = isinstance(value, int) and not isinstance(value, bool) and value >= least
    fraction = isinstance(value, float) and (0 if least == 0 else 1e-300) <= value <= 1
    require(counted or fraction, name, value, expected)
