"""From a composed config to the objects of a run: the only file that knows both sides."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ..api import sparsify
from ..common import slurm
from ..common.console import waiting
from ..errors import UserError, first_line
from ..graph.meta_kernels import Shapes
from ..masks.masks import Masks
from ..runs.read import flat
from ..sparsifiers import Sparsifier
from ..sparsity import Plan
from ..training.checkpoints.codec import mask_state, read_checkpoint
from ..training.optimizers import with_fused_step
from .checks import check, check_run

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ..training.callbacks import Accounting, RankWatch


@dataclass
class Run:
    """Everything that trains: made by `build_run`, used by `sparseift.train`."""

    net: nn.Module
    planned: Plan
    masks: Masks | None
    module: pl.LightningModule
    data: pl.LightningDataModule
    trainer: pl.Trainer
    accounting: Accounting
    ranks: RankWatch

    def load(self, checkpoint: Path) -> None:
        """Take over the network and the masks of a checkpoint of this run, and nothing else of it."""
        saved = read_checkpoint(checkpoint)
        self.module.load_state_dict(saved["state_dict"])
        if self.masks:
            masks = mask_state(saved)
            self.masks.load_state_dict(masks["masks"], masks["active"])

    @property
    def plan(self) -> Plan:
        """With the active weights that the masks have now."""
        return self.masks.counted(self.planned) if self.masks else self.planned


def make(config: DictConfig, **extra: Any) -> Any:
    """Instantiate a config node. A UserError of the constructor comes out as itself; other failures name the node."""
    try:
        return instantiate(config, **extra)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        raise cause or UserError(" ".join(str(error).split())) from error


def build_network(config: DictConfig, on_meta: bool) -> tuple[nn.Module, Plan]:
    """The transformed network and its plan. on_meta: shapes alone, without memory or values, where the network allows
    it."""
    check(config)
    sparsifier = make_sparsifier(config)
    dense = _dense_on_meta(config) if on_meta else make(config.model)
    net, plan = sparsify(
        dense,
        make(config.member),
        config.sparsity.level,
        make(config.task).example(),
        distribution=make(config.sparsity.distribution),
        include=config.sparsity.include,
        exclude=config.sparsity.exclude,
        masked=config.sparsifier._target_ is not None,
    )
    return net, sparsifier.plan(plan)


def make_sparsifier(config: DictConfig) -> Sparsifier:
    return make(config.sparsifier) if config.sparsifier._target_ else Sparsifier()


def make_optimizer(config: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    """Return the optimizer of the recipe, still without parameters."""
    trainer = config.trainer
    return with_fused_step(make(config.recipe.optimizer), str(trainer.precision), bool(trainer.gradient_clip_val))


def _dense_on_meta(config: DictConfig) -> nn.Module:
    try:
        with Shapes(), torch.device("meta"):
            return instantiate(config.model)
    except (InstantiationException, NotImplementedError, RuntimeError):
        return make(config.model)  # some networks compute with values while they are built


def hyperparameters(config: DictConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """What runs are compared by: what they are, and how they are trained."""
    recipe = flat({"recipe": OmegaConf.to_container(config.recipe, resolve=True)})
    return {**settings, "batch_size": config.dataset.get("batch_size"), **recipe}


def build_run(
    config: DictConfig,
    folder: Path,
    settings: dict[str, Any],
    how_to_go_on: str = "",
    tell: Callable[[str], None] = print,
) -> Run:
    """All parts of a training run that writes into `folder`.

    settings: kept in its checkpoints. how_to_go_on: said if the run is stopped. tell: called with the reason where it
    has to end without an exception.
    """
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.environments import SLURMEnvironment

    from ..training.callbacks import (
        Accounting,
        Checkpoint,
        Divergence,
        Hyperparameters,
        Preemption,
        RankWatch,
        RngState,
        progress,
        quiet,
    )
    from ..training.callbacks.masks import MaskCallback
    from ..training.checkpoints import AtomicCheckpointIO
    from ..training.loggers import MetricsCsv
    from ..training.module import TrainingModule

    quiet()
    check(config)
    check_run(config)
    sparsifier, task = make_sparsifier(config), make(config.task)
    data = make(config.dataset)
    data.prepare_data()  # a network of minutes is not built for data that is missing
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with waiting("network and masks"):
        net, plan = build_network(config, on_meta=False)
        masks = Masks.random(net, plan, config.seed, sparsifier.pattern.largest) if plan.masked else None
    metric = task.metrics[0]
    mover = MaskCallback(masks, plan, sparsifier, config.seed) if masks else None
    accounting = Accounting(plan, task, mover)
    shown = [progress(masks or plan, metric), Hyperparameters(hyperparameters(config, settings), metric)]
    callbacks = [*([mover] if mover else []), Divergence(), accounting, RngState(), *shown]
    callbacks += [make(callback) for callback in config.callbacks.values()]
    checkpoint = Checkpoint(folder / "checkpoints", config.checkpoint.every_n_steps, settings, metric, masks)
    ranks = RankWatch(tell)
    callbacks += [checkpoint, Preemption(checkpoint, how_to_go_on), ranks]
    module = TrainingModule(
        net,
        task,
        optimizer=make_optimizer(config),
        scheduler=make(config.recipe.scheduler) if config.recipe.scheduler else None,
        scheduler_interval=config.recipe.scheduler_interval,
        decay_norm_and_bias=config.recipe.decay_norm_and_bias,
    )
    try:
        module.configure_optimizers()  # as the Trainer will, or say now why that can't be
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe.optimizer and recipe.scheduler can't be made: {first_line(error)}") from error
    trainer = make(
        config.trainer,
        callbacks=callbacks,
        logger=[*(make(logger, folder=folder) for logger in config.logger.values()), MetricsCsv(folder)],
        plugins=[AtomicCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if slurm.in_task() else [])],
        default_root_dir=str(folder),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    return Run(net, plan, masks, module, data, trainer, accounting, ranks)
