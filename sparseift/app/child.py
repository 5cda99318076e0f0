"""A job of a sweep in a process of its own.

Lightning starts the other processes of a DDP run by repeating the command line. Under -m each of them would begin the
whole sweep, and a failing job would let jobs of different configs meet. As a process of its own the job is one run.
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

from ..errors import LEAVE, Noted, Stopped, UserError
from ..runs.command import run_in
from ..runs.read import reason_of_failure
from .folder import SWEEP_JOB


def run_alone(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path | None) -> None:
    """Train with these arguments in `folder`. environment: of the job, besides this process's. output: the file for
    what it prints, if not to the same place. Raises UserError with the job's reason where it fails, Stopped where it
    was told to leave, and KeyboardInterrupt where it was interrupted."""
    (folder / "error.txt").unlink(missing_ok=True)  # of an earlier attempt
    command = [sys.executable, "-m", "sparseift.train", *arguments, run_in(folder)]
    with output.open("a") if output else nullcontext() as file:
        job = subprocess.Popen(command, env={**os.environ, **environment, SWEEP_JOB: "1"}, stdout=file, stderr=file)
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        job.send_signal(number)

    heeded = [number for number in (*LEAVE, signal.SIGINT) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        code = job.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in LEAVE:
        if number in received or code in (128 + number, -number):
            raise Stopped(128 + number)
    if signal.SIGINT in received or code in (130, -signal.SIGINT):  # however the job ended, which its ranks race for
        raise KeyboardInterrupt
    if code and (folder / "error.txt").exists():
        raise Noted(reason_of_failure(folder))
    if code:
        ended = f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise UserError(f"its process {ended}")
