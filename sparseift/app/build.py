"""Builds the objects of a run from its config."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..backends import Backend
from ..common import slurm
from ..common.checks import integer, require
from ..common.console import waiting
from ..common.messages import one_line
from ..errors import UserError
from ..graph.comparison import trained_parameter
from ..graph.meta_kernels import Shapes
from ..loading import PRETRAINED, transformed
from ..masks.masks import Masks
from ..masks.patterns import Pattern
from ..sparsifiers import Sparsifier
from ..sparsity import Distribution, Plan
from ..tasks import Task
from ..tasks.checked import Checked
from ..training.checkpoints.codec import mask_state, read_checkpoint
from ..training.initial_weights import load_weights_
from ..training.memory import out_of_memory
from ..training.optimizers import with_fused_step
from .devices import most_ranks
from .hydra_versions import ANY_TARGET
from .limits import steps_of_recipe
from .making import make, make_choice
from .targets import check_targets

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import Logger

    from ..training.callbacks import Accounting, MaskCallback
    from ..training.ranks import RankWatch

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
"""Methods of a data module. Without validation, `val_dataloader` returns an empty list."""

OF_THE_NETWORK = ("model", "member", "sparsity", "pattern", "sparsifier", "task")
"""Groups that the network and its plan depend on."""


@dataclass
class TrainingParts:
    """Everything that a run trains with.

    Args:
        planned: The plan, with the densities at the end of the run.
        init: How the network starts, for results.json.
    """

    net: nn.Module
    task: Task
    planned: Plan
    masks: Masks | None
    init: dict[str, Any]
    mask_callback: MaskCallback | None
    module: pl.LightningModule
    data: pl.LightningDataModule
    trainer: pl.Trainer
    accounting: Accounting
    ranks: RankWatch

    def load(self, checkpoint: Path) -> None:
        """Load only the network and the masks from a checkpoint of this run.

        A saved average of weights may be not zero outside the masks, which is mended.
        """
        saved = read_checkpoint(checkpoint)
        self.trainer.strategy.load_model_state_dict(saved)
        if self.masks:
            masks = mask_state(saved)
            self.masks.load_state_dict(masks["masks"], masks["active"])
            self.masks.apply()

    def check_masks(self) -> None:
        """Check that the network that was trained is sparse.

        Raises:
            UserError: A masked weight is not a parameter of the module, or not zero.
        """
        if not self.masks:
            return
        self.masks.to_weights()
        self.masks.check_trained((), self.module)
        if wrong := self.masks.nonzero_outside():
            changed = "a callback or the backend has changed them"
            raise UserError(f"masked weights of {', '.join(wrong)} are not zero after training: {changed}")

    def out_of_memory(self) -> str:
        """What to say if a device has no memory left."""
        return out_of_memory(self.trainer, self.net, self.masks, getattr(self.data, "batch_size", None))

    def whole(self) -> tuple[nn.Module, str | None]:
        """The network, on rank 0, and the hash of its masks. Call this on all ranks, which may have parts of them."""
        from ..training.sharding import Sharded

        strategy, sha256 = self.trainer.strategy, self.masks.sha256() if self.masks else None
        return strategy.whole_network() if isinstance(strategy, Sharded) else self.net, sha256

    @property
    def plan(self) -> Plan:
        """The plan with the active weights of the current masks."""
        return self.planned.with_active(self.masks.active) if self.masks else self.planned


def build_network(config: DictConfig, on_meta: bool) -> tuple[nn.Module, Plan]:
    """Build the transformed network and its plan.

    Args:
        on_meta: Build on the meta device if the network allows it: shapes only, without memory or values.
    """
    check_targets(config, OF_THE_NETWORK)
    return _network(config, make_task(config), make_pattern(config), make_sparsifier(config), on_meta)[:2]


def _network(
    config: DictConfig, task: Task, pattern: Pattern, sparsifier: Sparsifier, on_meta: bool
) -> tuple[nn.Module, Plan, bool]:
    """The transformed network, its plan, and whether it keeps the weights of the dense network."""
    dense = make_choice(config, "model", nn.Module, _dense_on_meta if on_meta else make)
    sparsity: Any = OmegaConf.to_container(config.sparsity, resolve=True)
    source, keep = config.init["from"], config.init.keep_weights
    if source is not None and not on_meta:
        load_weights_(dense, Path(source))
    if keep is None and (source is not None or any(config.model.get(key) for key in PRETRAINED)):
        keep = True
    distribution = make_choice(config, "sparsity.distribution", Distribution)  # type: ignore[type-abstract]
    masked = config.sparsifier._target_ is not None
    net, plan = transformed(dense, make(config.member), sparsity, distribution, task, masked, keep)
    plan = pattern.plan(plan)
    require(isinstance(plan, Plan), f"the plan of pattern {type(pattern).__name__}", plan, "a sparseift.sparsity.Plan")
    sparsifier.accept(plan)
    return net, plan, bool(keep) or (keep is None and trained_parameter(dense) is not None)


def _dense_on_meta(model: DictConfig) -> nn.Module:
    try:
        with Shapes(), torch.device("meta"):
            return instantiate(model, _convert_="all", **ANY_TARGET)
    except Exception:  # some networks compute with values while they are built
        return make(model)


def make_sparsifier(config: DictConfig) -> Sparsifier:
    """Make the sparsifier. A run without masks gets one that does nothing."""
    return make_choice(config, "sparsifier", Sparsifier) if config.sparsifier._target_ else Sparsifier()


def make_pattern(config: DictConfig) -> Pattern:
    return make_choice(config, "pattern", Pattern)  # type: ignore[type-abstract]


def make_backend(config: DictConfig) -> Backend:
    return make_choice(config, "backend", Backend)  # type: ignore[type-abstract]


def make_task(config: DictConfig) -> Task:
    return Checked(make(config.task))


def make_optimizer(config: DictConfig, net: nn.Module, sharded: bool = False) -> Callable[..., torch.optim.Optimizer]:
    """Return a function that makes the optimizer of the recipe from parameters of the network.

    Args:
        sharded: Whether each rank has a part of every parameter.
    """
    optimizer, clips = make(config.recipe.optimizer), bool(config.trainer.gradient_clip_val)
    return with_fused_step(optimizer, net, str(config.trainer.precision), clips, sharded)


def build_run(
    config: DictConfig,
    folder: Path,
    settings: dict[str, Any],
    how_to_resume: str = "",
    tell: Callable[[str], None] = print,
) -> TrainingParts:
    """Build all parts of a run that writes into `folder`.

    Args:
        settings: Settings to save in checkpoints, and to log as hyperparameters.
        how_to_resume: Text to print if the run is stopped.
        tell: Function to call with the reason if the run must end without an exception.
    """
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import Logger

    from ..training.active_gradients import ActiveGradients
    from ..training.callbacks import (
        Accounting,
        ChannelsLast,
        Checkpoint,
        Divergence,
        Hyperparameters,
        MaskCallback,
        Preemption,
        Remask,
        RngState,
        TrainMetrics,
        progress,
        quiet,
        suits_channels_last,
    )
    from ..training.loggers import LayersCsv, MetricsCsv
    from ..training.ranks import RankWatch
    from ..training.sharding import Sharded, check_sharded

    quiet()
    check_targets(config, logger=("folder",))
    task, pattern, sparsifier = make_task(config), make_pattern(config), make_sparsifier(config)
    backend = make_backend(config)
    chosen = [make_choice(config, f"callbacks.{name}", pl.Callback) for name in config.callbacks]
    loggers = [
        make_choice(config, f"logger.{name}", Logger, folder=folder)  # type: ignore[type-abstract]
        for name in config.logger
    ]
    first = _checked_trainer(config, folder)
    devices = first.world_size
    if isinstance(first.strategy, Sharded):
        check_sharded(first, config.trainer, sparsifier, backend, chosen)
    elif config.trainer.get("channels_last") and suits_channels_last(first, task.example()):
        chosen.append(ChannelsLast())
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = _data(config, devices)  # before a network is built, which can take minutes
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with waiting("network and masks"):
        net, plan, kept = _network(config, task, pattern, sparsifier, on_meta=False)
        initial_masks = Masks.largest if kept else Masks.random
        masks = initial_masks(net, plan, config.seed, pattern) if plan.masked else None
    mask_callback = MaskCallback(masks, plan, sparsifier, backend, task, config.seed) if masks else None
    metric = task.metrics[0]
    accounting = Accounting(plan, task, mask_callback)
    checkpoint = Checkpoint(folder / "checkpoints", config.checkpoint.every_n_steps, settings, metric, mask_callback)
    recorders = [progress(masks or plan, task, accounting), Hyperparameters(settings, metric)]
    callbacks = [
        *([mask_callback] if mask_callback else []),
        *([ActiveGradients()] if mask_callback and config.trainer.get("send_active_gradients") else []),
        *(Divergence(), accounting, RngState(config.seed), *recorders),
        *([*chosen, Remask()] if mask_callback else chosen),
        *(TrainMetrics(task), checkpoint, Preemption(checkpoint, how_to_resume)),
    ]
    layers = [layer.name for layer in plan.layers]
    trainer = make_trainer(
        config, folder, callbacks, [*loggers, MetricsCsv(folder), LayersCsv(folder)], devices, layers
    )
    _write_profile(trainer, folder)
    module = _module(config, net, task, data, trainer)
    init = {
        "from": config.init["from"],
        "weights": "kept" if kept else "new",
        "masks": initial_masks.__name__ if masks and not sparsifier.sets_initial_masks else None,
    }
    ranks = RankWatch(folder, tell)
    return TrainingParts(net, task, plan, masks, init, mask_callback, module, data, trainer, accounting, ranks)


def _write_profile(trainer: pl.Trainer, folder: Path) -> None:
    """Let a profiler that has no file write into the folder; it would log its report, and runs do not log."""
    from pytorch_lightning.profilers import PassThroughProfiler, Profiler

    profiler = trainer.profiler  # type: ignore[attr-defined]  # set by a function of Lightning
    if isinstance(profiler, Profiler) and not isinstance(profiler, PassThroughProfiler):
        profiler.dirpath = profiler.dirpath or folder
        profiler.filename = profiler.filename or "profile"


def _checked_trainer(config: DictConfig, folder: Path) -> pl.Trainer:
    """Return a Trainer without callbacks, which knows the devices, after a check of its options."""
    from ..training.strategies import check_strategy

    strategy = str(config.trainer.get("strategy"))
    fits = not any(way in strategy for way in ("spawn", "fork", "notebook"))
    require(fits, "trainer.strategy", strategy, "a strategy that starts programs, such as ddp, not functions")
    trainer = make_trainer(config, folder, callbacks=[], loggers=[])
    if config.sparsifier._target_ is not None:
        check_strategy(trainer.strategy)
    if trainer.strategy.root_device.type == "cpu":
        integer("trainer.devices", trainer.num_devices, 1, most_ranks())
        synchronized = config.trainer.get("sync_batchnorm") and trainer.world_size > 1
        require(not synchronized, "trainer.sync_batchnorm", True, "false on CPUs, for which torch has no such norm")
    return trainer


def make_data(config: DictConfig) -> pl.LightningDataModule:
    """Make the data module."""
    import pytorch_lightning as pl

    data = make_choice(config, "dataset", pl.LightningDataModule)
    missing = [name for name in LOADERS if getattr(type(data), name) is getattr(pl.LightningDataModule, name)]
    require(not missing, "dataset._target_", config.dataset._target_, f"a data module with {', '.join(missing)}")
    return data


def _data(config: DictConfig, devices: int) -> pl.LightningDataModule:
    """Return the data module, after a check of its data."""
    from ..data import DataModule

    data = make_data(config)
    data.prepare_data()
    if isinstance(data, DataModule):
        data.setup("fit")
        data.check_batches(devices, config.trainer.get("accumulate_grad_batches", 1))
    return data


def _module(
    config: DictConfig, net: nn.Module, task: Task, data: pl.LightningDataModule, trainer: pl.Trainer
) -> pl.LightningModule:
    from ..data import DataModule
    from ..training.callbacks import recipe_steps
    from ..training.module import TrainingModule
    from ..training.schedulers import with_length
    from ..training.sharding import Sharded, check_elementwise

    recipe, sharded = config.recipe, isinstance(trainer.strategy, Sharded)
    length = recipe.epochs, steps_of_recipe(config)
    run_steps = recipe_steps(trainer, data, *length) if isinstance(data, DataModule) else None
    module = TrainingModule(
        net,
        task,
        optimizer=make_optimizer(config, net, sharded),
        scheduler=with_length(make(recipe.scheduler), run_steps) if recipe.scheduler else None,
        scheduler_interval=recipe.scheduler_interval,
        validates=data.validates if isinstance(data, DataModule) else config.dataset.get("val_size") != 0,
        decay_norm_and_bias=recipe.decay_norm_and_bias,
        compile=config.trainer.get("compile", False),
    )
    try:
        configured = module.configure_optimizers()  # reports mistakes before the Trainer is built
    except (TypeError, ValueError) as error:
        reason = one_line(error, whole=False)
        raise UserError(f"recipe.optimizer and recipe.scheduler cannot be made: {reason}") from error
    if sharded:
        check_elementwise(configured["optimizer"] if isinstance(configured, dict) else configured)
    return module


def make_trainer(
    config: DictConfig,
    folder: Path,
    callbacks: list[pl.Callback],
    loggers: list[Logger],
    devices: int = 1,
    layers: Iterable[str] = (),
) -> pl.Trainer:
    """Make the Trainer of a run that writes into `folder`.

    Args:
        devices: Number of devices of all nodes, if it is known.
        layers: Layers of the network (see `strategies.with_options`).
    """
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.environments import SLURMEnvironment

    from ..training.checkpoints.io import AtomicCheckpointIO
    from ..training.strategies import with_options

    torch.set_float32_matmul_precision(config.trainer.get("matmul_precision", "highest"))
    changed: dict[str, Any] = {}
    if config.trainer.get("benchmark") is None:  # the fastest algorithms differ from run to run, and so do their bits
        changed["benchmark"] = not config.trainer.get("deterministic", False)
    if isinstance(strategy := config.trainer.get("strategy"), str):
        changed["strategy"] = with_options(strategy, devices, layers)
    return make_choice(
        config,
        "trainer",
        pl.Trainer,
        partial(make, **changed),
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if slurm.in_task() else [])],
        default_root_dir=str(folder),
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
