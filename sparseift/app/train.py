"""Trains a run: in this process or in a child process, unless it is already finished."""

from __future__ import annotations

import os
from math import nan
from pathlib import Path

from omegaconf import DictConfig

from ..common.checks import require
from ..common.slurm import first_process
from ..runs.results import read_results
from .child import run_in_child
from .contents import RESULTS
from .devices import reserved_gpus
from .folder import RunFolder
from .resume import after_requeue, already_finished, continues
from .settings import Settings, job_of, settings_of


def train(config: DictConfig, own_process: bool = True) -> float | None:
    """Train, test and write the results into the run folder.

    Args:
        own_process: Whether the command line of this process starts the run. Lightning repeats it for other devices.

    Returns:
        The first metric of the task on the validation data, or on the test data if there is no validation, for a
        sweeper that searches for the best one. None if another process writes the results.
    """
    job = job_of(config)
    with RunFolder(job) as folder:
        settings = settings_of(config)
        if not own_process:
            _require_one_process(settings)
        folder.claim(continues(settings, job.folder), settings.overwrite)
        settings = after_requeue(settings, job.folder)
        if already_finished(config, settings, job.folder):
            print(f"already finished: {job.folder / 'results.json'}")
        elif job.sweep and job.side_by_side:
            folder.release()
            with reserved_gpus(settings.accelerator, settings.devices, job.sweep) as environment:
                run_in_child(job.arguments, job.folder, environment, job.folder / "output.log")
            print(f"finished: {job.folder}")
        elif job.sweep and not settings.one_process and os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
            folder.release()
            run_in_child(job.arguments, job.folder, environment={}, output=None)  # SLURM starts all processes of a run
        else:
            from .run import train_here  # with torch, which takes seconds to import

            train_here(config, settings, folder)
    return _objective(job.folder / RESULTS) if first_process() else None


def _require_one_process(settings: Settings) -> None:
    for name, number in (("devices", settings.devices), ("num_nodes", settings.num_nodes)):
        require(number == 1, f"trainer.{name}", number, "1 inside of a Python process; sparseift train takes several")


def _objective(path: Path) -> float:
    """The metric in results.json that `train` returns. NaN if it is not finite."""
    results = read_results(path)
    name = results["metrics"][0]["name"]
    value = results.get("val", {}).get(name, results["test"][name])
    return nan if value is None else float(value)
