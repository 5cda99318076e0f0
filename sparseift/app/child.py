"""Runs a job of a sweep in its own process.

Lightning starts the other ranks of a DDP run by repeating the command line of the process. If that process runs a
sweep, each rank would start the whole sweep.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

from ..common.signals import LEAVE, handled, name_of
from ..errors import Noted, Stopped, UserError
from ..runs.command import run_in
from ..runs.read import reason_of_failure
from .sweep import SWEEP_JOB


def run_in_child(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path | None) -> None:
    """Run sparseift.train in a child process, and pass signals on to it.

    Args:
        arguments: Arguments of sparseift.train, except the folder.
        folder: The run folder.
        environment: Variables to add to the environment of this process.
        output: A file to append the output to. None: the output of this process.

    Raises:
        UserError: The run has failed.
        Stopped: A signal has stopped the run.
        KeyboardInterrupt: Ctrl-C has stopped the run.
    """
    (folder / "error.txt").unlink(missing_ok=True)
    command = [sys.executable, "-m", "sparseift.train", *arguments, run_in(folder)]
    with output.open("a") if output else nullcontext() as file:
        job = subprocess.Popen(command, env={**os.environ, **environment, SWEEP_JOB: "1"}, stdout=file, stderr=file)
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        job.send_signal(number)

    with handled(pass_on):
        code = job.wait()
    for number in LEAVE:
        if number in received or code in (128 + number, -number):
            raise Stopped(128 + number)
    if signal.SIGINT in received or code in (130, -signal.SIGINT):  # the exit code depends on which rank ends first
        raise KeyboardInterrupt
    if code and (reason := reason_of_failure(folder)):
        raise Noted(reason)
    if code:
        ended = f"was ended by signal {name_of(-code)}" if code < 0 else f"ended with exit code {code}"
        raise UserError(f"the process of the run {ended}")
