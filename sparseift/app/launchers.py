"""The launchers of sweeps in conf/hydra/launcher: what they need, what they ask for, and what became of their jobs."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError
from ..runs.read import FINISHED, read_run
from .devices import jobs_at_once

NEEDED = {"slurm": "hydra_plugins.hydra_submitit_launcher", "parallel": "hydra_plugins.hydra_joblib_launcher"}
"""Modules by launcher; the extra of this package that installs one has the launcher's name."""

SUBMITTED = ".submitit"
"""Where conf/hydra/launcher/slurm.yaml keeps scripts and logs, in the folder of the sweep."""

SAME_IN_AN_ARRAY = ("trainer", "trainer.devices", "trainer.num_nodes", "trainer.accelerator")


def named(overrides: Sequence[str]) -> str | None:
    """The launcher that the command line names, if it is not Hydra's own."""
    choices = [override.partition("=")[2] for override in overrides if override.startswith("hydra/launcher=")]
    return choices[-1] if choices and choices[-1] != "basic" else None


def check(overrides: Sequence[str], sweep: bool) -> None:
    """Raises UserError where the launcher that the command line names can't launch this."""
    launcher = named(overrides)
    if launcher and not sweep:
        raise UserError(f"hydra/launcher={launcher} launches sweeps: add -m, also for a single job")
    if launcher not in NEEDED:
        return
    if not _installed(NEEDED[launcher]):
        raise UserError(f"hydra/launcher={launcher} needs the extra of this name: pip install 'sparseift[{launcher}]'")
    if launcher == "slurm":
        if not shutil.which("sbatch"):
            raise UserError("hydra/launcher=slurm needs sbatch, which is not here: use a log-in node of a cluster")
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
        if differing := swept.intersection(SAME_IN_AN_ARRAY):
            raise UserError(
                f"hydra/launcher=slurm: jobs of one sweep ask for the same nodes; start one for each {differing.pop()}"
            )


def in_parallel() -> bool:
    """Whether this process runs a job of a sweep beside others on the same machine."""
    hydra = HydraConfig.get()
    return hydra.mode is RunMode.MULTIRUN and _side_by_side(hydra.launcher)


def devices_per_node(devices: int | str | Sequence[int]) -> int:
    """Tasks that SLURM starts on a node. Raises UserError where the trainer does not say how many."""
    if not isinstance(devices, int) or devices < 1:
        raise UserError(f"hydra/launcher=slurm asks for devices by number: trainer.devices=8, not {devices}")
    return devices


def gpus_per_node(accelerator: str, devices: int | str | Sequence[int]) -> int | None:
    return None if accelerator == "cpu" else devices_per_node(devices)


class SweepFolder(Callback):
    """Notes the folder of the sweep that this process launches, and whether its jobs run beside each other here."""

    path: Path | None = None
    side_by_side = False

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        type(self).path = Path(config.hydra.sweep.dir)
        type(self).side_by_side = _side_by_side(config.hydra.launcher)


def refusal(error: Exception) -> UserError | None:
    """What sbatch says where it takes no job."""
    said = [line for line in str(error).splitlines() if line.startswith("sbatch: error: ")]
    return UserError(f"SLURM refuses the jobs: {said[-1].removeprefix('sbatch: error: ')}") if said else None


def failures(since: float) -> list[str]:
    """A line for each job of the sweep that has no results, once none is in the queue any more. since: when this
    process began, in seconds of the epoch."""
    if SweepFolder.path is None or not SweepFolder.path.exists():
        return []
    for job in queued(since):
        _wait(job)  # the launcher itself waits no longer than for the first one without a result
    folders = sorted(path for path in SweepFolder.path.iterdir() if path.is_dir() and path.name != SUBMITTED)
    runs = [read_run(folder) for folder in folders]
    return [f"{run.folder}: {run.state}: {run.detail}" for run in runs if run.state != FINISHED]


def queued(since: float) -> list[str]:
    """Ids of the SLURM jobs that this sweep has submitted since then."""
    pickles = SweepFolder.path.glob(f"{SUBMITTED}/*/*_submitted.pkl") if SweepFolder.path else []
    return sorted(file.parent.name for file in pickles if file.stat().st_ctime >= since)


def end_parallel_jobs(number: int) -> None:
    """Pass a signal on to the jobs of this sweep that run beside each other, and wait until they have saved: joblib
    kills those that run when the first one has ended."""
    if not SweepFolder.side_by_side:
        return
    for worker in multiprocessing.active_children():
        with suppress(ProcessLookupError):
            os.kill(worker.pid, number)
    for folder in SweepFolder.path.glob("*/"):
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)  # which a run has alone, see RunFolder


def _side_by_side(launcher: DictConfig) -> bool:
    """Also where a launcher of a user's own has taken conf/hydra/launcher/parallel.yaml over under another name."""
    return launcher._target_.startswith(NEEDED["parallel"])


def _wait(job_id: str) -> None:
    from submitit import SlurmJob

    SlurmJob(SweepFolder.path / SUBMITTED / "%j", job_id).wait()


OmegaConf.register_new_resolver("devices_per_node", devices_per_node, replace=True)
OmegaConf.register_new_resolver("jobs_at_once", jobs_at_once, replace=True)
OmegaConf.register_new_resolver("gpus_per_node", gpus_per_node, replace=True)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
