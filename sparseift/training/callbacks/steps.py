"""The length of a run in optimizer steps, and the callbacks for which it can be too short."""

from __future__ import annotations

from math import ceil, isfinite

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from ...common.checks import require
from ...data import DataModule


class NeedsSteps(pl.Callback):
    """Base of callbacks that have no effect, or a wrong one, in a run of few optimizer steps.

    A run that uses few batches on purpose (`trainer.limit_train_batches`, or an option that sets it) is not checked.
    """

    def check_steps(self, total: int) -> None:
        """Raise `UserError` if `total` optimizer steps are too few."""
        raise NotImplementedError

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check data of which `check_length` does not know the length."""
        if _uses_all_batches(trainer):
            self.check_steps(total_steps(trainer))


def check_length(trainer: pl.Trainer, data: pl.LightningDataModule) -> None:
    """Check that a fit is long enough for all callbacks, before it starts.

    Args:
        data: The data, after `setup("fit")`.

    Raises:
        UserError: The fit is too short.
    """
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # its connector sets it
    for callback in callbacks:
        if isinstance(callback, Timer) and (seconds := callback.time_remaining()) is not None:
            require(seconds > 0, "trainer.max_time", f"{seconds:g} seconds", "a duration > 0")
    if not isinstance(data, DataModule):
        return
    expected = "0.0, since every epoch has other batches; for short epochs: trainer.limit_train_batches"
    overfit: int | float = trainer.overfit_batches  # type: ignore[attr-defined]  # set by a function of Lightning
    require(not overfit, "trainer.overfit_batches", overfit, expected)
    _used("trainer.limit_test_batches", trainer.limit_test_batches, _batches(data.test_size, trainer, data))
    total = _steps_of_fit(trainer, data)
    for callback in callbacks:
        if isinstance(callback, NeedsSteps) and _uses_all_batches(trainer):
            callback.check_steps(total)


def recipe_steps(trainer: pl.Trainer, data: DataModule, epochs: int, most: int | None) -> int:
    """Return the number of optimizer steps of a recipe, whatever options of the Trainer shorten the run.

    Args:
        data: The data, after `setup("fit")`.
        epochs: Epochs of the recipe.
        most: Optimizer steps of the recipe, if it ends after them.
    """
    steps = ceil(_batches(data.train_size, trainer, data) / trainer.accumulate_grad_batches) * epochs
    return min(steps, most or steps)


def _steps_of_fit(trainer: pl.Trainer, data: DataModule) -> int:
    batches = _batches(data.train_size, trainer, data)
    used = _used("trainer.limit_train_batches", trainer.limit_train_batches, batches)
    steps = ceil(used / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


def _batches(samples: int, trainer: pl.Trainer, data: DataModule) -> int:
    """The number of batches of a device."""
    return ceil(samples / (data.batch_size * trainer.world_size))


def _used(name: str, limit: int | float | None, batches: int) -> int:
    """The number of batches that an option of the Trainer leaves, at least one."""
    limit = 1.0 if limit is None else limit
    used = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    require(used > 0, name, limit, f"at least one batch of {batches}")
    return used


def steps_per_epoch(trainer: pl.Trainer) -> int | None:
    """Return the number of optimizer steps of an epoch after training has started; None if it is not known."""
    batches = trainer.num_training_batches
    return ceil(batches / trainer.accumulate_grad_batches) if isfinite(batches) else None


def planned_steps(trainer: pl.Trainer, epochs: int, most: int | None) -> int | None:
    """Return the number of optimizer steps of a recipe after training has started; None if it is not known.

    Args:
        epochs: Epochs of the recipe.
        most: Optimizer steps of the recipe, if it ends after them.
    """
    steps = steps_per_epoch(trainer)
    return None if steps is None else min(steps * epochs, most or steps * epochs)


def total_steps(trainer: pl.Trainer) -> int:
    """Return the number of optimizer steps of a fit after training has started.

    Raises:
        UserError: It is not known.
    """
    total = trainer.estimated_stepping_batches
    require(0 < total < float("inf"), "trainer.max_steps", trainer.max_steps, "an integer >= 1 for data without length")
    return int(total)


def _uses_all_batches(trainer: pl.Trainer) -> bool:
    return isinstance(trainer.limit_train_batches, float) and trainer.limit_train_batches == 1.0
