"""Reads a run from its config: how Hydra starts it (`Job`), and its settings (`Settings`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from ..common.checks import require
from ..runs.command import config_folders, of_one_run
from .checks import check_run, check_values
from .foreign import drop_foreign
from .lasting import lasting_of
from .launchers import runs_side_by_side
from .limits import limits_of, steps_of_recipe
from .names import names_of, sparsity_of
from .options import typed_overrides
from .sweep import SWEEP_JOB


@dataclass(frozen=True)
class Job:
    """One run as Hydra starts it.

    Args:
        folder: The run folder.
        sweep: The folder of the sweep, if this process runs the jobs of a sweep.
        of_sweep: Whether the run is a job of a sweep, in this process or in a child process.
        side_by_side: Whether jobs of the sweep run on this machine at the same time.
        arguments: Arguments of sparseift.train that start the same run in a child process.
        notes: The files that describe the run: their content by name. `settings_of` may still change the config.
    """

    folder: Path
    sweep: Path | None
    of_sweep: bool
    side_by_side: bool
    arguments: tuple[str, ...]
    notes: Mapping[str, DictConfig | ListConfig]


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Args:
        identity: The choices and numbers that results.json records to tell runs apart.
        lasting: `identity` and every other setting that must not change when the run resumes, by dotted key.
        limits: The options that shorten the run (see `limits_of`).
        most_steps: Optimizer steps after which the recipe ends; None if it ends after its epochs.
        resume: "auto", the path of a checkpoint or run folder, or None.
        overwrite: Whether to replace a run that is in the run folder.
        test_with: The checkpoint to test, "last" or "best".
        export: Whether to write model.pt2.
        accelerator, devices, num_nodes: Arguments of the Trainer.
    """

    identity: Mapping[str, Any]
    lasting: Mapping[str, Any]
    limits: Mapping[str, Any]
    epochs: int
    most_steps: int | None
    resume: str | None
    overwrite: bool
    test_with: str
    export: bool
    accelerator: str
    devices: int | str | Sequence[int]
    num_nodes: int

    @property
    def one_process(self) -> bool:
        return self.devices == 1 and self.num_nodes == 1


def job_of(config: DictConfig) -> Job:
    """Return the current job of Hydra."""
    hydra = HydraConfig.get()
    multirun = hydra.mode is RunMode.MULTIRUN
    overrides = typed_overrides()
    contents: dict[str, Any] = {
        "config": config,
        "hydra": {"hydra": hydra},
        "overrides": OmegaConf.create(overrides["task"]),
    }
    return Job(
        folder=Path(hydra.runtime.output_dir),
        sweep=Path(hydra.sweep.dir) if multirun else None,
        of_sweep=multirun or SWEEP_JOB in os.environ,
        side_by_side=multirun and runs_side_by_side(hydra.launcher),
        arguments=(
            *config_folders({"runtime": hydra.runtime, "overrides": overrides}),
            *of_one_run(overrides["task"]),
        ),
        notes={f"{name}.yaml": content for name, content in contents.items()},
    )


def settings_of(config: DictConfig) -> Settings:
    """Check the config of a run, drop options of choices that were replaced, and return its settings."""
    check_values(config)
    check_run(config)
    drop_foreign(config)
    _pin(config)
    identity = _identity(config)
    pattern, masked = identity["pattern"], identity["distribution"] is not None
    require(masked or pattern == "unstructured", "pattern", pattern, "unstructured without masks")
    return Settings(
        identity=identity,
        lasting={**identity, **lasting_of(config)},
        limits=limits_of(config),
        epochs=config.recipe.epochs,
        most_steps=steps_of_recipe(config),
        resume=_resume(config.resume),
        overwrite=config.overwrite,
        test_with=config.checkpoint.test,
        export=config.export,
        accelerator=config.trainer.accelerator,
        devices=config.trainer.devices,
        num_nodes=config.trainer.num_nodes,
    )


def _pin(config: DictConfig) -> None:
    """Record the number that a data set reads from its folder, which may change or move after the run."""
    if "num_classes" in config.dataset:
        config.dataset.num_classes = config.dataset.num_classes


def _identity(config: DictConfig) -> dict[str, Any]:
    names = names_of(config)
    sparsity = sparsity_of(config, names)
    distribution = names["distribution"] if config.sparsifier._target_ is not None else None
    first = {"model": names["model"], "member": names["member"], "sparsity": sparsity, "distribution": distribution}
    return {**first, **{key: name for key, name in names.items() if key not in first}, "seed": config.seed}


def _resume(value: Any) -> str | None:
    fits = value is None or isinstance(value, str)
    require(fits, "resume", value, "'auto', null, or the path of a checkpoint or run folder")
    return value
