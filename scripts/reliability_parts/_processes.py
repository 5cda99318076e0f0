"""Starts the programs of the package in processes that are forked from one that has imported everything."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import shlex
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PRELOADED = (
    "sparseift.train",
    "sparseift.profile",
    "sparseift.app.program",
    "sparseift.app.train",
    "sparseift.report.program",
    "sparseift.report.differences",
    "sparseift.app.run",
    "sparseift.training.callbacks",
    "sparseift.training.module",
    "sparseift.training.loggers",
    "sparseift.data.images.digits",
    "sparseift.models",
    "sklearn.datasets",
    "torch.utils.tensorboard",
    "torchvision.transforms.v2",
)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

TRAIN = "sparseift.train"
QUICK = (
    "dataset=digits",
    "dataset.batch_size=128",
    "model.base_width=4",
    "trainer=cpu",
    "logger=none",
    "export=false",
)
"""Overrides of a run with ten optimizer steps per epoch, each of some milliseconds."""


@dataclass(frozen=True)
class Outcome:
    """The end of a program.

    Args:
        code: The exit code, negative for a signal; None if it was killed because it took too long.
    """

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def last_line(self) -> str:
        return next((line for line in reversed(self.err.splitlines()) if line.strip()), "")

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.out + self.err


class Process:
    """A program that runs on the CPU with one thread.

    Args:
        arguments: Its command line.
        folder: Its working folder, which must exist.
        module: The program. Its `main` runs.
        ranks: Number of processes, which get the environment that torchrun gives them.
        environment: Further variables.
        prepare: Runs in the process before the program, for example to set a limit. It must be picklable.
    """

    def __init__(
        self,
        arguments: Iterable[str],
        folder: Path,
        module: str = TRAIN,
        ranks: int = 1,
        environment: Mapping[str, str] | None = None,
        prepare: Callable[[], None] | None = None,
    ):
        self.arguments = list(arguments)
        self._began = time.monotonic()
        context = _context()
        self._logs = [folder / f".{name}-{time.monotonic_ns()}" for name in ("stdout", "stderr")]
        shared = {**ONE_THREAD, "CUDA_VISIBLE_DEVICES": "", **(environment or {})}
        self.ranks = [
            context.Process(target=_become, args=(module, self.arguments, folder, own, self._logs, prepare))
            for own in ([shared] if ranks == 1 else [shared | rank for rank in _torchrun(ranks)])
        ]
        for rank in self.ranks:
            rank.start()

    @property
    def command(self) -> str:
        return shlex.join(self.arguments)

    @property
    def alive(self) -> bool:
        return any(rank.is_alive() for rank in self.ranks)

    def kill(self) -> None:
        """Kill all ranks with SIGKILL, and what they have started."""
        for rank in self.ranks:
            if rank.is_alive():
                try:
                    os.killpg(rank.pid, signal.SIGKILL)
                except ProcessLookupError:  # it has not made its group yet
                    rank.kill()
        for rank in self.ranks:
            rank.join()

    def wait(self, seconds: float = 300) -> Outcome:
        """Wait until the first rank has ended, or kill all after a time; the outcome."""
        self.ranks[0].join(seconds)
        late = self.ranks[0].is_alive()
        for rank in self.ranks[1:]:
            rank.join(0 if late else 30)
        self.kill()
        out, err = (log.read_text(errors="replace") if log.exists() else "" for log in self._logs)
        for log in self._logs:
            log.unlink(missing_ok=True)
        return Outcome(None if late else self.ranks[0].exitcode, out, err, time.monotonic() - self._began)


def program(arguments: Iterable[str], folder: Path, seconds: float = 300, **options) -> Outcome:
    """Run a program to its end. The options are those of `Process`."""
    return Process(arguments, folder, **options).wait(seconds)


Case = TypeVar("Case")
Result = TypeVar("Result")


def parallel(function: Callable[[Case], Result], cases: Iterable[Case], processes: int) -> Iterator[Result]:
    """Call a function of a module with each case, in processes of which each forks its own programs; the results in
    order. Threads cannot wait for forked programs.
    """
    if processes == 1:
        yield from map(function, cases)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, cases)


def quick(*overrides: str) -> list[str]:
    """Return QUICK and these overrides, which replace those of QUICK with the same key."""
    chosen = {override.lstrip("+~").partition("=")[0]: override for override in (*QUICK, *overrides)}
    return list(chosen.values())


def _context():
    os.environ.update(ONE_THREAD)  # before the server imports torch
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _torchrun(ranks: int) -> list[dict[str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "WORLD_SIZE": f"{ranks}", "GROUP_RANK": "0"}
    common |= {"LOCAL_WORLD_SIZE": f"{ranks}", "TORCHELASTIC_RUN_ID": "reliability"}
    return [common | {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"} for rank in range(ranks)]


def _become(
    module: str,
    arguments: list[str],
    folder: Path,
    environment: Mapping[str, str],
    logs: list[Path],
    prepare: Callable[[], None] | None,
) -> None:
    """Turn this forked process into the program."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, log in enumerate(logs, start=1):
        with log.open("a") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    code = 1
    try:
        if prepare:
            prepare()
        package = importlib.util.find_spec(module).submodule_search_locations
        importlib.import_module(module + (".__main__" if package else "")).main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)  # taking down everything that was imported would take longer than most programs
