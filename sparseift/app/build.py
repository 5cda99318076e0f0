"""From a composed config to the objects of a run. No other file knows both."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ..api import sparsify
from ..common import slurm
from ..common.console import waiting
from ..common.messages import one_line
from ..errors import UserError
from ..graph.meta_kernels import Shapes
from ..masks.masks import Masks
from ..runs.read import flat
from ..sparsifiers import Sparsifier
from ..sparsity import Plan
from ..training.checkpoints.codec import mask_state, read_checkpoint

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ..training.callbacks import Accounting, RankWatch


@dataclass
class TrainingParts:
    """Everything that a run trains with.

    Args:
        example: Inputs of the network, as shapes without values.
        planned: The plan at which the run ends.
    """

    net: nn.Module
    example: Tensor
    planned: Plan
    masks: Masks | None
    module: pl.LightningModule
    data: pl.LightningDataModule
    trainer: pl.Trainer
    accounting: Accounting
    ranks: RankWatch

    def load(self, checkpoint: Path) -> None:
        """Load the network and the masks of a checkpoint of this run, and nothing else of it."""
        saved = read_checkpoint(checkpoint)
        self.module.load_state_dict(saved["state_dict"])
        if self.masks:
            masks = mask_state(saved)
            self.masks.load_state_dict(masks["masks"], masks["active"])

    @property
    def plan(self) -> Plan:
        """The plan with the active weights of the current masks."""
        return self.masks.counted(self.planned) if self.masks else self.planned


def make(config: DictConfig, **extra: Any) -> Any:
    """Instantiate a config node. Arguments are plain values and containers.

    Raises:
        UserError: The constructor has raised it, or the node cannot be instantiated.
    """
    try:
        return instantiate(config, _convert_="all", **extra)
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        raise cause or UserError(one_line(error)) from error


def example_of(config: DictConfig) -> Tensor:
    """One sample of the data set, as shapes without values."""
    return torch.empty(1, config.dataset.channels, config.dataset.image_size, config.dataset.image_size, device="meta")


def build_network(config: DictConfig, on_meta: bool) -> tuple[nn.Module, Plan]:
    """Build the transformed network and its plan.

    Args:
        on_meta: Build shapes alone, without memory or values, where the network allows it.
    """
    sparsifier = make_sparsifier(config)
    dense = _dense_on_meta(config.model) if on_meta else make(config.model)
    sparsity = OmegaConf.to_container(config.sparsity, resolve=True)
    assert isinstance(sparsity, dict)
    net, plan = sparsify(
        dense,
        make(config.member),
        sparsity["level"],
        example_of(config),
        distribution=make(config.sparsity.distribution),
        include=sparsity["include"],
        exclude=sparsity["exclude"],
        masked=config.sparsifier._target_ is not None,
    )
    plan = make(config.pattern).plan(plan)
    sparsifier.accept(plan)
    return net, plan


def _dense_on_meta(model: DictConfig) -> nn.Module:
    try:
        with Shapes(), torch.device("meta"):
            return instantiate(model, _convert_="all")
    except (InstantiationException, NotImplementedError, RuntimeError):
        return make(model)  # some networks compute with values while they are built


def make_sparsifier(config: DictConfig) -> Sparsifier:
    """Make the sparsifier; without masks, one that does nothing."""
    return make(config.sparsifier) if config.sparsifier._target_ else Sparsifier()


def make_optimizer(config: DictConfig) -> Callable[..., torch.optim.Optimizer]:
    """Make the optimizer, still without parameters, and fused where torch and the run allow it.

    A fused step takes a third of the time, but unscales gradients by itself: too late for masks that are updated by
    them, and for clipping, which Lightning refuses in mixed precision.
    """
    optimizer, precision = make(config.recipe.optimizer), str(config.trainer.precision)
    too_late = precision.startswith("16") or (config.trainer.gradient_clip_val and precision.startswith("bf16"))
    chosen = {"fused", "foreach", "differentiable"} & config.recipe.optimizer.keys()
    try:
        offered = "fused" in signature(optimizer).parameters
    except ValueError:  # its arguments do not fit, which is reported when it gets its parameters
        offered = False
    return partial(optimizer, fused=True) if offered and not (chosen or too_late) else optimizer


def hyperparameters(config: DictConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """What loggers compare runs by: the settings, and how the run is trained."""
    recipe = flat({"recipe": OmegaConf.to_container(config.recipe, resolve=True)})
    return {**settings, "batch_size": config.dataset.batch_size, **recipe}


def build_run(
    config: DictConfig,
    folder: Path,
    settings: dict[str, Any],
    how_to_resume: str = "",
    tell: Callable[[str], None] = print,
) -> TrainingParts:
    """Build all parts of a run that writes into `folder`.

    Args:
        settings: Are saved in checkpoints.
        how_to_resume: Is printed if the run is stopped.
        tell: Is called with the reason where the run has to end without an exception.
    """
    import pytorch_lightning as pl

    from ..training.callbacks import Accounting, Checkpoint, Preemption, RankWatch, quiet

    quiet()
    sparsifier = make_sparsifier(config)
    data = make(config.dataset)
    data.prepare_data()  # before a network is built, which can take minutes
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with waiting("network and masks"):
        net, plan = build_network(config, on_meta=False)
        masks = Masks.random(net, plan, config.seed, make(config.pattern)) if plan.masked else None
    accounting, ranks = Accounting(plan, sparsifier, masks), RankWatch(tell)
    checkpoint = Checkpoint(folder / "checkpoints", config.checkpoint.every_n_steps, settings)
    callbacks = _callbacks(config, plan, masks, sparsifier, accounting, settings)
    callbacks += [checkpoint, Preemption(checkpoint, how_to_resume), ranks]
    module = _module(config, net)
    trainer = _trainer(config, folder, callbacks)
    return TrainingParts(net, example_of(config), plan, masks, module, data, trainer, accounting, ranks)


def _callbacks(
    config: DictConfig,
    plan: Plan,
    masks: Masks | None,
    sparsifier: Sparsifier,
    accounting: Accounting,
    settings: dict[str, Any],
) -> list[pl.Callback]:
    """The callbacks in their order, without those that save and stop, which come last."""
    from ..training.callbacks import Divergence, Hyperparameters, MaskCallback, RngState, progress

    shown = [progress(masks or plan), Hyperparameters(hyperparameters(config, settings))]
    first = [MaskCallback(masks, plan, sparsifier, make(config.backend), config.seed)] if masks else []
    chosen = [make(callback) for callback in config.callbacks.values()]
    return [*first, Divergence(), accounting, RngState(), *shown, *chosen]


def _module(config: DictConfig, net: nn.Module) -> pl.LightningModule:
    from ..training.module import Classifier

    recipe = config.recipe
    module = Classifier(
        net,
        num_classes=config.dataset.num_classes,
        optimizer=make_optimizer(config),
        scheduler=make(recipe.scheduler) if recipe.scheduler else None,
        scheduler_interval=recipe.scheduler_interval,
        label_smoothing=recipe.label_smoothing,
        decay_norm_and_bias=recipe.decay_norm_and_bias,
    )
    try:
        module.configure_optimizers()  # the Trainer would report mistakes only after all the rest
    except (TypeError, ValueError) as error:
        reason = one_line(error, whole=False)
        raise UserError(f"recipe.optimizer and recipe.scheduler cannot be made: {reason}") from error
    return module


def _trainer(config: DictConfig, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    from pytorch_lightning.plugins.environments import SLURMEnvironment

    from ..training.checkpoints import AtomicCheckpointIO
    from ..training.loggers import MetricsCsv

    return make(
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
