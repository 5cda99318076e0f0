"""The launchers of sweeps in conf/hydra/launcher: their requirements, resources, and failed jobs."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ..common.checks import integer, require
from ..common.locks import locked
from ..errors import UserError
from ..runs.read import FINISHED, read_run
from .contents import LOCK
from .devices import jobs_at_once, most_workers
from .hydra_versions import register_resolver

NEEDED = {"slurm": "hydra_plugins.hydra_submitit_launcher", "parallel": "hydra_plugins.hydra_joblib_launcher"}
"""The module that each launcher needs. The extra that installs it has the name of the launcher."""

SUBMITTED = ".submitit"
"""The folder of scripts and logs in the folder of a sweep, as in conf/hydra/launcher/slurm.yaml."""

SAME_IN_AN_ARRAY = ("trainer", "trainer.devices", "trainer.num_nodes", "trainer.accelerator")
"""Overrides that cannot differ within a job array, because SLURM gives each job the same resources."""


LEAST = {
    "batch_size": 1,
    "nodes": 1,
    "tasks_per_node": 1,
    "gpus_per_node": 0,
    "cpus_per_task": 1,
    "timeout_min": 1,
    "signal_delay_s": 0,
    "max_num_timeout": 0,
    "array_parallelism": 1,
}
"""Options of the launchers that are integers, and the minimum of each."""


def launcher_of(overrides: Sequence[str]) -> str | None:
    """Return the launcher that the overrides choose, None for Hydra's default."""
    choices = [override.partition("=")[2] for override in overrides if override.startswith("hydra/launcher=")]
    return choices[-1] if choices and choices[-1] != "basic" else None


def check_launcher(overrides: Sequence[str], sweep: bool) -> None:
    """Check that the launcher that the overrides choose can launch the sweep."""
    launcher = launcher_of(overrides)
    if launcher and not sweep:
        raise UserError(f"hydra/launcher={launcher} needs the option -m (--multirun), also for a single job")
    if launcher not in NEEDED:
        return
    if not _installed(NEEDED[launcher]):
        raise UserError(f"hydra/launcher={launcher} needs an extra: pip install 'sparseift[{launcher}]'")
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    _check_numbers({override.key_or_group: override.value() for override in parsed})
    if launcher == "slurm":
        if not shutil.which("sbatch"):
            raise UserError("hydra/launcher=slurm needs sbatch, which is not installed; use a login node of a cluster")
        swept = {override.key_or_group for override in parsed if override.is_sweep_override()}
        if differing := swept.intersection(SAME_IN_AN_ARRAY):
            raise UserError(
                f"hydra/launcher=slurm requests the same nodes for all jobs: start one sweep for each {differing.pop()}"
            )


def _check_numbers(values: Mapping[str, Any]) -> None:
    """Check the numbers that the overrides give the launcher. It would start jobs, or fail, with any of them."""
    for name, least in LEAST.items():
        key = f"hydra.launcher.{name}"
        if values.get(key) is not None:
            integer(key, values[key], least)
    key = "hydra.launcher.n_jobs"
    if key in values:
        jobs = values[key]
        fits = isinstance(jobs, int) and not isinstance(jobs, bool) and (jobs == -1 or 1 <= jobs <= most_workers())
        require(fits, key, jobs, f"an integer from 1 to {most_workers()}, or -1 for one per core")


def runs_side_by_side(launcher: DictConfig) -> bool:
    """Whether a launcher, which may be derived from parallel.yaml, runs several jobs on this machine at a time."""
    return launcher._target_.startswith(NEEDED["parallel"])


def devices_per_node(devices: int | str | Sequence[int]) -> int:
    """Return how many tasks SLURM starts on a node."""
    fits = isinstance(devices, int) and devices >= 1
    require(fits, "trainer.devices", devices, "an integer >= 1 with hydra/launcher=slurm")
    return cast(int, devices)


def gpus_per_node(accelerator: str, devices: int | str | Sequence[int]) -> int | None:
    """Return how many GPUs SLURM gives a job on each node, or None."""
    return None if accelerator == "cpu" else devices_per_node(devices)


class SweepFolder(Callback):
    """Records the folder of the sweep that this process launches, and whether its jobs run here at the same time."""

    path: Path | None = None
    side_by_side = False

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        type(self).path = Path(config.hydra.sweep.dir)
        type(self).side_by_side = runs_side_by_side(config.hydra.launcher)


def refusal(error: Exception) -> UserError | None:
    """Return the error of sbatch if it has rejected a job."""
    lines = [line for line in str(error).splitlines() if line.startswith("sbatch: error: ")]
    return UserError(f"SLURM rejects the jobs: {lines[-1].removeprefix('sbatch: error: ')}") if lines else None


def failures(since: float) -> list[str]:
    """Wait until no job of the sweep is queued, and return a line for each job without results.

    Args:
        since: The start of this process in seconds since 1970.
    """
    if SweepFolder.path is None or not SweepFolder.path.exists():
        return []
    for job in queued(since):
        _wait(SweepFolder.path, job)  # because the launcher stops waiting at the first failure
    folders = sorted(path for path in SweepFolder.path.iterdir() if path.is_dir() and path.name != SUBMITTED)
    runs = [read_run(folder) for folder in folders]
    return [f"{run.folder}: {run.state}: {run.detail}" for run in runs if run.state != FINISHED]


def queued(since: float) -> list[str]:
    """Return the ids of the SLURM jobs that this sweep has submitted since a time."""
    pickles = SweepFolder.path.glob(f"{SUBMITTED}/*/*_submitted.pkl") if SweepFolder.path else []
    return sorted(file.parent.name for file in pickles if file.stat().st_ctime >= since)


def end_parallel_jobs(number: int) -> None:
    """Pass a signal on to the parallel jobs of this sweep, and wait until they have saved their checkpoints.

    Otherwise joblib kills the other jobs when the first job ends.
    """
    if SweepFolder.path is None or not SweepFolder.side_by_side:
        return
    for worker in multiprocessing.active_children():
        if worker.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)
    for lock in SweepFolder.path.glob(f"*/{LOCK}"):
        with locked(lock):  # held by a run while it writes
            pass


def _wait(sweep: Path, job_id: str) -> None:
    from submitit import SlurmJob

    SlurmJob(sweep / SUBMITTED / "%j", job_id).wait()


register_resolver("devices_per_node", devices_per_node, replace=True)
register_resolver("jobs_at_once", jobs_at_once, replace=True)
register_resolver("gpus_per_node", gpus_per_node, replace=True)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
