"""The command line of the programs that Hydra configures."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser  # Hydra has no public parser of its options
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

import sparseift

from ..common import slurm
from ..common.messages import refuse, say
from ..common.signals import LEAVE, handle, ignore, name_of
from ..errors import Stopped, UserError
from . import launchers, resolvers  # noqa: F401  # configs call the resolvers
from .contents import CHECKPOINTS, ERROR, STARTED
from .help import help_page
from .hydra_versions import VERSION_BASE
from .messages import EXPECTED, as_user_error, described, one_line_errors
from .overrides import check_folders, check_sweeps, config_folder, is_override, plain_choice
from .sweep import resumed

Program = Callable[[DictConfig], float | None]


def run(program: Program, config_name: str, description: str) -> None:
    """Compose the config from the command line, and call the program with it, once for each job of a sweep.

    An error that the user can correct is reported in one line, with exit code 2. If a job of a sweep fails, the other
    jobs still run, unless `sweep.stop_on_failure` is true, and the exit code is 1.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # otherwise Hydra prints exceptions and exits
    arguments = sys.argv[1:]
    sweep = bool({"-m", "--multirun"} & set(arguments))
    failed: Sequence[str] = ()
    with one_line_errors():
        if {"-h", "--help"} & set(arguments):
            print(help_page(description, _config_folders([option for option in arguments if not is_override(option)])))
            return
        if "--version" in arguments:
            print(f"sparseift {sparseift.__version__}")
            return
        if sweep and {"-c", "--cfg"} & set(arguments):
            raise UserError("--cfg prints the config of a single run; leave out -m")
        options = [argument for argument in arguments if not is_override(argument)]
        folders = _config_folders(options)
        overrides = accepted(filter(is_override, arguments), folders, sweep)
        handle(_leave, (*LEAVE, signal.SIGINT) if launchers.launcher_of(overrides) else LEAVE)
        sys.argv[1:] = options + overrides  # Hydra requires overrides in one piece
        failed = _run_jobs(program, config_name)
    if failed:
        say("\n  ".join([f"{len(failed)} of the jobs failed:", *failed]))
        sys.exit(1)


def accepted(overrides: Iterable[str], folders: Sequence[Path], sweep: bool) -> list[str]:
    """Check overrides, and translate them to what Hydra accepts.

    Args:
        folders: Folders of configs besides the package's own.
        sweep: Whether they describe a sweep.

    Raises:
        UserError: An override is not valid.
    """
    plain = [plain_choice(override, folders) for override in overrides]
    check_sweeps(plain)
    check_folders(plain)
    launchers.check_launcher(plain, sweep)
    return resumed(plain, sweep)


def _run_jobs(program: Program, config_name: str) -> Sequence[str]:
    """Run the program, and return a line for each job of a sweep that has failed."""
    failed: list[str] = []
    began = time.time()

    def job(config: DictConfig) -> float | None:
        if HydraConfig.get().mode is RunMode.RUN:
            with one_line_errors():
                return program(config)
        return _run_job_of_sweep(program, config, failed)

    try:
        hydra.main(config_path=str(config_folder()), config_name=config_name, **VERSION_BASE)(job)()
    except Exception as error:
        if refusal := launchers.refusal(error):
            raise refusal from error
        failed += [] if failed else launchers.failures(began)
        if not failed and (told := as_user_error(error)) is not error:
            raise told from error
        if not failed:
            raise
    except KeyboardInterrupt:
        if queued := launchers.queued(began):
            ids = " ".join(sorted({job_id.partition("_")[0] for job_id in queued}))
            say(f"the jobs stay in the queue; to cancel them: scancel {ids}")
        raise
    return failed


def _run_job_of_sweep(program: Program, config: DictConfig, failed: list[str]) -> float | None:
    if _mark_of_failure():  # in a job of submitit, which ignores SIGTERM, and counts time-outs at SIGUSR2
        handle(_leave, [number for number in LEAVE if number != signal.SIGUSR2])
    try:
        return program(config)
    except Exception as error:
        if not isinstance(error, EXPECTED):
            traceback.print_exc()
        hydra_config = HydraConfig.get()
        overrides = " ".join(hydra_config.overrides.task)
        failed.append(f"job {hydra_config.job.num} ({overrides}): {described(error)}")
        say(failed[-1])
        if mark := _mark_of_failure():
            mark.touch()
        if config.sweep.stop_on_failure or slurm.in_task():  # the exit code has SLURM end the other ranks
            sys.exit(1)
        raise  # Hydra runs the other jobs first


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a signal outside of training. Parallel jobs may still be training, and save checkpoints."""
    ignore(number)
    launchers.end_parallel_jobs(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    requeued = slurm.in_task() and _requeued()
    if slurm.first_process() or requeued:
        how = "; the run resumes when its job starts again" if requeued else ""
        say(f"stopped by {name_of(number)}{how}")
    raise Stopped(128 + number)


def _requeued() -> bool:
    """Return the job to the queue, and tell whether it starts again.

    SLURM also sends SIGTERM to the ranks that are left when one has ended. If that rank has failed with an error, it
    would fail again.
    """
    mark = _mark_of_failure()
    if not slurm.first_process():
        if not (mark and slurm.stands_in()):
            return False
        time.sleep(1)  # rank 0 comes first, unless it is the rank that has ended
    failed, saved = mark is not None and mark.exists(), False
    if HydraConfig.initialized():
        folder = Path(HydraConfig.get().runtime.output_dir)
        failed, saved = failed or _is_new(folder / ERROR), _is_new(folder / CHECKPOINTS[0])
    return not failed and slurm.requeue_after_loss(saved)


def _mark_of_failure() -> Path | None:
    """The file by which a rank tells the others that it has failed with an error. Not every run may write error.txt."""
    folder = os.environ.get("SUBMITIT_FOLDER")
    return Path(folder, f"failed_{slurm.restarts()}") if folder and slurm.in_task() else None


def _is_new(file: Path) -> bool:
    return file.exists() and file.stat().st_mtime >= STARTED


def _config_folders(options: list[str]) -> list[Path]:
    """Check the options, because Hydra would print its whole usage, and return the folder of --config-dir, if any."""
    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    known, unknown = parser.parse_known_args(options)
    if unknown:
        refuse(f"there is no option {unknown[0]}; values are set without dashes, as in sparsity=0.9")
    if known.overrides:
        refuse(f"there is no option {known.overrides[0]}; expected NAME=VALUE, as in sparsity=0.9")
    if known.config_dir and not Path(known.config_dir).is_dir():
        raise UserError(f"--config-dir is {known.config_dir!r}; expected a folder")
    return [Path(known.config_dir)] if known.config_dir else []
