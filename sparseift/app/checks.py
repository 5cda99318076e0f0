"""Checks of values in the config, before anything is built from them."""

from __future__ import annotations

import os

from omegaconf import DictConfig, OmegaConf

from ..common import slurm
from ..common.checks import boolean, integer, number, one_of, require
from .devices import most_workers
from .options import check_finite, check_options

INTEGERS = {
    "seed": 0,
    "recipe.epochs": 1,
    "dataset.batch_size": 1,
    "dataset.val_size": 0,
    "dataset.num_workers": 0,
    "dataset.num_classes": 1,
    "dataset.channels": 1,
    "dataset.image_size": 1,
    "dataset.vocab_size": 1,
    "dataset.context_length": 1,
    "trainer.num_nodes": 1,
    "trainer.max_epochs": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
}
"""Integer options and the minimum of each. A data set may lack some of its options."""

MATMUL = ("highest", "high", "medium")
"""Precisions of products of float32 matrices (see torch.set_float32_matmul_precision)."""

COMPILE = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""Modes of torch.compile."""

LARGEST_SEED = 2**32 - 1
"""The largest seed of numpy's generator."""

LEAST_OF_MODEL = {
    "num_classes": "num_classes",
    "vocab_size": "vocab_size",
    "positions": "context_length",
}
"""Sizes of a network, and the options of a data set that each must not be below."""


def check_values(config: DictConfig) -> None:
    """Check the options and values that every program uses."""
    check_options(config)
    number("sparsity.level", config.sparsity.level, 0, 1, open_at="()")
    most = {"seed": LARGEST_SEED, "dataset.num_workers": most_workers()}
    for key, least in INTEGERS.items():
        node, _, name = key.rpartition(".")
        if name in (OmegaConf.select(config, node) if node else config):
            integer(key, OmegaConf.select(config, key), least, most.get(key))
    check_finite(config)
    for name in map(str, config.task):
        if name in config.dataset and name != "_target_":
            same = config.task[name] == config.dataset[name]
            require(same, f"task.{name}", config.task[name], f"{config.dataset[name]}, which is dataset.{name}")


def check_run(config: DictConfig) -> None:
    """Check the values that only training uses."""
    for key in ("export", "overwrite", "sweep.resume", "sweep.stop_on_failure", "recipe.decay_norm_and_bias"):
        boolean(key, OmegaConf.select(config, key))
    source, keep = config.init["from"], config.init.keep_weights
    require(source is None or isinstance(source, str), "init.from", source, "null or a path")
    require(keep is None or isinstance(keep, bool), "init.keep_weights", keep, "true, false or null")
    one_of("recipe.scheduler_interval", config.recipe.scheduler_interval, ("epoch", "step"))
    if config.checkpoint.every_n_steps is not None:
        integer("checkpoint.every_n_steps", config.checkpoint.every_n_steps, 1)
    one_of("checkpoint.test", config.checkpoint.test, ("last", "best"))
    _check_trainer(config)
    if config.trainer.get("gradient_clip_val") is not None:
        number("trainer.gradient_clip_val", config.trainer.gradient_clip_val, 0)
    if isinstance(config.trainer.get("val_check_interval"), int | float):
        number("trainer.val_check_interval", config.trainer.val_check_interval, 0, open_at="(")
    if config.trainer.get("log_every_n_steps") is not None:
        integer("trainer.log_every_n_steps", config.trainer.log_every_n_steps, 0)
    val_size, needed = config.dataset.get("val_size"), config.checkpoint.test == "best"
    require(val_size != 0 or not needed, "dataset.val_size", val_size, "an integer >= 1 with checkpoint.test=best")
    for name, of_data in LEAST_OF_MODEL.items():
        size, least = OmegaConf.select(config, f"model.{name}"), config.dataset.get(of_data)
        if isinstance(size, int) and least is not None:
            expected = f"an integer >= dataset.{of_data}, which is {least}"
            require(size >= least, f"model.{name}", size, expected)
    nodes, devices = config.trainer.num_nodes, config.trainer.devices
    if slurm.in_task() and isinstance(devices, int):
        tasks = int(os.environ.get("SLURM_NTASKS") or 1)
        require(
            tasks == nodes * devices,
            "SLURM_NTASKS",
            tasks,
            f"one task for each device: srun --nodes={nodes} --ntasks-per-node={devices}",
        )


def _check_trainer(config: DictConfig) -> None:
    """Check the options that the program reads itself, and adds to those of the Trainer."""
    for name in ("channels_last", "send_active_gradients"):
        boolean(f"trainer.{name}", config.trainer.get(name, False))
    one_of("trainer.matmul_precision", config.trainer.get("matmul_precision", MATMUL[0]), MATMUL)
    mode = config.trainer.get("compile", False)
    require(
        isinstance(mode, bool) or mode in COMPILE,
        "trainer.compile",
        mode,
        f"true, false or one of {', '.join(COMPILE)}",
    )
