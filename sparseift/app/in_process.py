"""Trains a run in the process of the caller, such as a notebook, and leaves this process as it was."""

from __future__ import annotations

import logging
import os
import random
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from omegaconf import DictConfig

from ..common.checks import require
from ..common.signals import kept
from ..errors import Stopped
from ..runs.read import Run, read_run
from . import run as _run  # noqa: F401  # imports what training needs before the state to restore is taken
from .compose import search_path
from .hydra_versions import VERSION_BASE
from .messages import as_user_error
from .overrides import config_folder, is_override
from .program import accepted
from .train import train

CONFIG = "train"


def run_in_process(overrides: Sequence[str], config_dir: str | Path | None) -> Run:
    """Train a run in this process (see `sparseift.run`)."""
    require(not isinstance(overrides, str), "overrides", overrides, "a list of strings")
    for text in overrides:
        fits = isinstance(text, str) and is_override(text) and not text.startswith("hydra.mode=")
        require(fits, "an override", text, "NAME=VALUE, such as sparsity=0.9; for a sweep, call run for each value")
    folders = [Path(config_dir).resolve()] if config_dir is not None else []
    for folder in folders:
        require(folder.is_dir(), "config_dir", str(config_dir), "a folder")
    try:
        with _restored():
            return read_run(_trained(overrides, folders))
    except Stopped as stopped:
        if stopped.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from None
        raise


def _trained(overrides: Sequence[str], folders: Sequence[Path]) -> Path:
    """Train a run, and return its folder."""
    failures: list[Exception] = []

    def job(config: DictConfig) -> None:
        try:
            train(config, own_process=False)
        except Exception as error:  # Hydra would print it
            failures.append(error)

    try:
        with initialize_config_dir(str(config_folder()), CONFIG, **VERSION_BASE):
            arguments = [*search_path(folders), *accepted(overrides, folders, sweep=False)]
            hydra: Any = GlobalHydra.instance().hydra
            done = hydra.run(CONFIG, job, arguments, with_log_configuration=False)
        for failure in failures:
            raise failure
    except Exception as error:
        if (told := as_user_error(error)) is error:
            raise
        raise told from error
    return Path(done.hydra_cfg.hydra.runtime.output_dir)


@contextmanager
def _restored() -> Iterator[None]:
    """Restore what a run changes in its process when the context ends. In the context, Hydra is not initialized."""
    hydra, environment = Singleton.get_state(), dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in ("pytorch_lightning", "lightning_fabric")}
    precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    of_python, of_numpy, devices = random.getstate(), np.random.get_state(), range(torch.cuda.device_count())
    GlobalHydra.instance().clear()
    try:
        with kept(), warnings.catch_warnings(), torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        now = Singleton.get_state()["instances"]  # Hydra fills the store of its own configs once in a process
        hydra["instances"] |= {kind: now[kind] for kind in (ConfigStore, Plugins) if kind in now}
        Singleton.set_state(hydra)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
