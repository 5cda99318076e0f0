"""A SLURM of two nodes on this machine, for each test its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..e2e.conftest import trained  # noqa: F401
from ..e2e.programs import environment, quick
from ..e2e.test_ddp import NET, two_ranks  # noqa: F401

SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm_sandbox"
DAEMONS = ("slurmctld", "slurmd", "munged")
PATIENCE = 150
"""Seconds; a process needs up to ten for its start alone, and machines are busy."""


def pytest_collection_modifyitems(items) -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    missing = [name for name in DAEMONS if not shutil.which(name, path=path)]
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=f"SLURM is not installed: no {', '.join(missing)}"))


def until(condition: Callable[[], object], what: str) -> object:
    """What the condition gives as soon as it gives something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.3)
    return found


@dataclass
class Cluster:
    """Tests run the networks of NET in `folder`, slowly as long as the file `slow` is there."""

    folder: Path
    env: dict[str, str]

    def __call__(self, *command: str) -> str:
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=True).stdout.strip()

    def sweep(self, *overrides: str) -> subprocess.Popen:
        """The command that a person gives on the log-in node."""
        own = ("hydra/launcher=slurm", "trainer=ddp", "trainer.accelerator=cpu", "dataset.batch_size=64")
        folders = ("hydra.sweep.dir=sweep", "hydra.sweep.subdir=${hydra:job.num}")
        arguments = quick(*NET, "model._target_=tiny_nets.slow", *own, *folders, *overrides)
        with (self.folder / "said").open("a") as said:
            command = [sys.executable, "-m", "sparseift.train", "-m", *arguments]
            return subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=said, stderr=said)

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    def job(self) -> str:
        return until(lambda: self("squeue", "--noheader", "--format=%A"), "a job in the queue").splitlines()[0]

    def wait_for(self, mark: str) -> None:
        """Until a network of `tiny_nets.slow` is built, or trained in a step, from now on."""
        (self.folder / mark).unlink(missing_ok=True)
        until((self.folder / mark).exists, mark)

    def wait_for_log(self, line: str) -> None:
        until(lambda: line in self.log(), f"'{line}' in {self.log()}")

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("sweep/.submitit/*/*log*")))

    def processes(self, job: str) -> dict[int, str]:
        """Names by number of what runs in a job, the step daemons first."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables, name = (folder / "environ").read_bytes(), (folder / "comm").read_text().strip()
                title = (folder / "cmdline").read_text()
            except OSError:
                continue
            if f"SLURM_CONF={self.env['SLURM_CONF']}".encode() in variables.split(b"\0") and (
                f"SLURM_JOB_ID={job}".encode() in variables.split(b"\0") or f"slurmstepd: [{job}." in title
            ):
                found[int(folder.name)] = name
        return dict(sorted(found.items(), key=lambda item: item[1] != "slurmstepd"))

    def ranks(self, job: str) -> list[int]:
        return sorted(number for number, name in self.processes(job).items() if name.startswith("python"))

    def rank_0(self, job: str) -> int:
        return next(rank for rank in self.ranks(job) if b"SLURM_PROCID=0" in variables_of(rank))


def variables_of(process: int) -> list[bytes]:
    return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")


@pytest.fixture
def cluster(tmp_path) -> Iterator[Cluster]:
    home = tmp_path / "cluster"
    env = environment(SLURM_SANDBOX=str(home))
    subprocess.run([SCRIPT, "start"], env=env, check=True, capture_output=True)
    try:
        env |= {"SLURM_CONF": str(home / "slurm.conf"), "PATH": f"{home}/bin:{env['PATH']}"}
        yield Cluster(tmp_path, env)
    finally:
        subprocess.run([SCRIPT, "stop"], env=env, check=True)
