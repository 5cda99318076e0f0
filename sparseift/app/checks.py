"""Checks of values that would fail late, or not at all."""

from __future__ import annotations

import os

from omegaconf import DictConfig, OmegaConf

from ..common import slurm
from ..errors import UserError

WHOLE_NUMBERS = {
    "seed": 0,
    "recipe.epochs": 1,
    "dataset.batch_size": 1,
    "dataset.val_size": 0,
    "dataset.num_workers": 0,
    "dataset.num_classes": 1,
    "dataset.channels": 1,
    "dataset.image_size": 1,
    "trainer.num_nodes": 1,
    "trainer.max_epochs": 1,
    "trainer.accumulate_grad_batches": 1,
}
"""Options that are whole numbers, with the least that each may be; a data set need not have all of its."""


def check(config: DictConfig) -> None:
    """Values that would only fail later, or not at all. Raises UserError."""
    if not isinstance(config.sparsity.level, int | float):
        raise UserError(f"sparsity.level is '{config.sparsity.level}'; a number in (0, 1) such as 0.75 is meant")
    for name, least in WHOLE_NUMBERS.items():
        value = OmegaConf.select(config, name)
        if value is None and name.startswith("dataset.") and name.partition(".")[2] not in config.dataset:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{name} is {value}; a whole number, {least} or more, is meant")


def check_run(config: DictConfig) -> None:
    """What a training run needs besides. Raises UserError."""
    every, test = config.checkpoint.every_n_steps, config.checkpoint.test
    if every is not None and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise UserError(f"checkpoint.every_n_steps is {every}; a whole number of optimizer steps, 1 or more, is meant")
    if test not in ("last", "best"):
        raise UserError(f"checkpoint.test is '{test}'; it is 'last' or 'best'")
    if test == "best" and config.dataset.get("val_size") == 0:
        raise UserError("dataset.val_size is 0; expected an integer > 0, which checkpoint.test=best needs")
    outputs, least = OmegaConf.select(config, "model.num_classes"), config.dataset.get("num_classes")
    if isinstance(outputs, int) and least is not None and outputs < least:
        raise UserError(f"model.num_classes is {outputs}; expected an integer >= dataset.num_classes, which is {least}")
    tasks, wanted = os.environ.get("SLURM_NTASKS"), (config.trainer.num_nodes, config.trainer.devices)
    if slurm.in_task() and isinstance(wanted[1], int) and int(tasks or 1) != wanted[0] * wanted[1]:
        raise UserError(
            f"srun started {tasks} tasks for trainer.num_nodes={wanted[0]} and trainer.devices={wanted[1]}; one task a "
            f"device is meant: srun --nodes={wanted[0]} --ntasks-per-node={wanted[1]}"
        )
    if config.seed >= 2**32:
        raise UserError(f"seed is {config.seed}; a whole number below 2^32 is meant")
    if config.recipe.scheduler_interval not in ("epoch", "step"):
        raise UserError(f"recipe.scheduler_interval is '{config.recipe.scheduler_interval}'; it is 'epoch' or 'step'")
