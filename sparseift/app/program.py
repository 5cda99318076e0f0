"""The command line that the programs share: Hydra's, with plain sparsities, a help page of ours and one-line
errors.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..common import slurm
from ..errors import LEAVE, Stopped, UserError
from . import launchers
from .help import help_page
from .messages import EXPECTED, _refuse, one_line, one_line_errors
from .overrides import _check_ranges, _is_override, config_folder, plain_choice
from .sweep import resumed

OmegaConf.register_new_resolver("started", slurm.started, use_cache=True, replace=True)

OmegaConf.register_new_resolver("fraction", lambda share, total: round(share * total), replace=True)


def run(task: Callable[[DictConfig], None], config_name: str, description: str) -> None:
    """Compose the config from the command line and call `task` with it, once or once a job of a sweep.

    What a user can put right is told in one line, with exit code 2. A job of a sweep that fails does not stop the
    others, unless `sweep.stop_on_failure`; the exit code is then 1.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions come through to here
    failed: list[str] = []
    began = time.time()

    def job(config: DictConfig) -> None:
        if HydraConfig.get().mode is RunMode.RUN:
            with one_line_errors():
                task(config)
            return
        try:
            task(config)
        except Exception as error:
            if not isinstance(error, EXPECTED):
                traceback.print_exc()
            failed.append(f"job {HydraConfig.get().job.num} ({_overrides()}): {one_line(error)}")
            print(f"sparseift: {failed[-1]}", file=sys.stderr)
            if config.sweep.stop_on_failure or slurm.in_task():  # so that SLURM knows, and ends the other ranks
                sys.exit(1)
            raise  # to Hydra, which runs the other jobs and then raises it again here

    arguments = sys.argv[1:]
    sweep = bool({"-m", "--multirun"} & set(arguments))
    with one_line_errors():
        if {"-h", "--help"} & set(arguments):
            print(help_page(description))
            return
        if sweep and {"-c", "--cfg"} & set(arguments):
            raise UserError("--cfg shows the config of one run: leave out -m")
        overrides = [plain_choice(argument) for argument in arguments if _is_override(argument)]
        options = [argument for argument in arguments if not _is_override(argument)]
        _check(options)
        _check_ranges(overrides)
        launchers.check(overrides, sweep)
        for number in (*LEAVE, *([signal.SIGINT] if launchers.named(overrides) else [])):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _leave)
        sys.argv[1:] = options + resumed(overrides, sweep)  # Hydra takes overrides in one piece
        try:
            hydra.main(config_path=str(config_folder()), config_name=config_name, version_base="1.3")(job)()
        except Exception as error:
            if refusal := launchers.refusal(error):
                raise refusal from error
            failed += [] if failed else launchers.failures(began)
            if not failed:
                raise
        except KeyboardInterrupt:
            if queued := launchers.queued(began):
                ids = " ".join(sorted({job.partition("_")[0] for job in queued}))
                print(f"sparseift: its jobs stay in the queue, until: scancel {ids}", file=sys.stderr)
            raise
    if failed:
        print(f"sparseift: {len(failed)} of the jobs failed:", *failed, sep="\n  ", file=sys.stderr)
        sys.exit(1)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Before a run trains and after it has, there is nothing to save. But jobs beside each other may have."""
    signal.signal(number, signal.SIG_IGN)
    launchers.end_parallel_jobs(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if slurm.first_process():
        if slurm.in_task():
            slurm.requeue()
        print(f"sparseift: stopped by {signal.Signals(number).name}", file=sys.stderr)
    raise Stopped(128 + number)


def _check(options: list[str]) -> None:
    """Hydra itself answers a mistake in its options with their whole usage."""
    parser = get_args_parser()
    parser.error = _refuse
    _, unknown = parser.parse_known_args(options)
    if unknown:
        _refuse(f"there is no option {unknown[0]}; values are set without dashes, as in sparsity=0.9")


def _overrides() -> str:
    return " ".join(HydraConfig.get().overrides.task)
