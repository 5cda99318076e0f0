"""Trains a run from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .common.extras import require_suite

if TYPE_CHECKING:
    from .runs.read import Run


def run(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Run:
    """Train a run in this process, and return its results.

    This is `sparseift train` for scripts and notebooks, on one device. Afterwards, Hydra, signal handlers, logging, the
    environment and the random number generators are as before. Ctrl-C, or *interrupt* in a notebook, saves a checkpoint
    at the end of the current step; the same call with `resume=auto` and the folder of the run continues from it.

    Args:
        overrides: Those of `sparseift train`, as in `["member=dense", "recipe.epochs=10"]`. For a sweep, call `run` for
            each value.
        config_dir: A folder with configs of your own, as in `--config-dir`.

    Returns:
        The finished run: `folder`, `results` (the content of results.json), `metric` and `score` (the first metric, on
        the test set), `rows` (those of metrics.csv) and `command`, which repeats the run.

    Raises:
        UserError: An override is not valid, the run fails for a reason that you can correct, or the experiment suite is
            not installed.
        KeyboardInterrupt: Ctrl-C has stopped the run.
        Stopped: Another signal has asked the process to end.
    """
    require_suite("sparseift.run")
    from .app.in_process import run_in_process

    return run_in_process(overrides, config_dir)
