"""python -m sparseift.train: one run, or with -m a sweep of them."""

from __future__ import annotations

import os

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from .app.child import run_alone
from .app.devices import share_of
from .app.folder import RunFolder
from .app.launchers import in_parallel
from .app.program import run
from .app.resume import already_finished, source_of
from .runs.command import config_folders, of_one_run

DESCRIPTION = "python -m sparseift.train [OVERRIDES]: train a network at the FLOPs of its dense original"


def main() -> None:
    run(train, "train", DESCRIPTION)


def train(config: DictConfig) -> None:
    """Train, test and write the results into Hydra's run folder."""
    with RunFolder(config) as folder:
        config.resume = source_of(config, folder.path)
        if already_finished(config, folder.path):
            print(f"already finished: {folder.path / 'results.json'}")
        elif in_parallel():
            with share_of(config) as environment:
                run_alone(_arguments(), folder.path, environment, folder.path / "output.log")
            print(f"finished: {folder.path}")
        elif _starts_processes_in_a_sweep(config):
            run_alone(_arguments(), folder.path, environment={}, output=None)
        else:
            from .app.run import train_here  # torch takes seconds to load, and the processes of a sweep may do without

            train_here(config, folder)


def _starts_processes_in_a_sweep(config: DictConfig) -> bool:
    """SLURM starts the processes of a run by itself."""
    one = config.trainer.devices == 1 and config.trainer.num_nodes == 1
    return HydraConfig.get().mode is RunMode.MULTIRUN and not one and os.environ.get("SUBMITIT_EXECUTOR") != "slurm"


def _arguments() -> list[str]:
    """What makes a job of a sweep a run of its own."""
    hydra = HydraConfig.get()
    return [*config_folders(hydra), *of_one_run(hydra.overrides.task)]


if __name__ == "__main__":
    main()
