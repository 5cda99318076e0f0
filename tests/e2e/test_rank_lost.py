"""A run on two ranks of which one is killed, fails, is stopped, or is told to leave."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from .programs import HERE, Outcome, checkpoint, environment, files, network_state, quick, results, saved_masks
from .test_ddp import DEVICES, NET, running, two_ranks  # noqa: F401


def start(folder: Path, *overrides: str, **env: str) -> subprocess.Popen:
    """Start a run of ranks_run.py, which writes its output into files."""
    mark = f"+hydra.job.env_set.MARK={folder.name}"  # nothing that the run reads
    arguments = [*quick(*NET, *DEVICES, *overrides, mark), "hydra.run.dir=run"]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        command = [sys.executable, str(HERE / "ranks_run.py"), *arguments]
        return subprocess.Popen(command, cwd=folder, env=environment(**env), stdout=out, stderr=err)


def outcome_of(run: subprocess.Popen, folder: Path) -> Outcome:
    return Outcome(run.wait(), (folder / "out").read_text(), (folder / "err").read_text())


def on_two_ranks(folder: Path, rank: int, number: int) -> Outcome:
    """Of the process that was started, in whose thirteenth step the signal comes."""
    return outcome_of(start(folder, SIGNAL=f"{rank} {int(number)}"), folder)


def ended(folder: Path, within: float) -> None:
    """All processes of the run, of which the first has ended, do so in as many seconds."""
    deadline = time.monotonic() + within
    while still := running(f"+hydra.job.env_set.MARK={folder.name}"):
        assert time.monotonic() < deadline, still
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("rank", "code", "reason"), [(1, 2, "rank 1 was killed by SIGKILL"), (0, -signal.SIGKILL, "rank 0 has ended")]
)
def test_a_rank_that_is_killed(tmp_path, trained, train, rank, code, reason) -> None:
    """The other one tells; the run goes on with one process and batches of twice the size."""
    outcome = on_two_ranks(tmp_path, rank, signal.SIGKILL)
    ended(tmp_path, within=60)
    assert outcome.code == code, outcome
    told = f"{reason}, and the run with it"
    assert (tmp_path / "err").read_text().splitlines()[-1] == f"sparseift: {told}"
    assert (tmp_path / "run/error.txt").read_text() == f"{told}\n"

    resumed = train(*NET, "dataset.batch_size=128", "resume=auto", "hydra.run.dir=run")
    assert resumed.code == 0, resumed
    assert "resuming with 1 x 128 samples per batch; the checkpoint has 2 x 64" in resumed.out
    one, run = trained(*NET, "dataset.batch_size=128"), tmp_path / "run"
    assert all(torch.equal(saved_masks(run)[name], bits) for name, bits in saved_masks(one).items())
    weights = network_state(one)
    assert all(torch.allclose(value, weights[name], atol=1e-4) for name, value in network_state(run).items())
    assert "run/error.txt" not in files(tmp_path)


def test_ranks_leave_after_the_same_step(tmp_path, program, two_ranks, train) -> None:  # noqa: F811
    """A signal in step 13 of one rank: both have taken step 14 by the time that they have agreed."""
    outcome = on_two_ranks(tmp_path, 1, signal.SIGTERM)
    assert outcome.code == 143, outcome
    assert outcome.err.count("stopped by SIGTERM after step 14 and saved") == 1
    assert checkpoint(tmp_path / "run")["global_step"] == 14
    ended(tmp_path, within=10)
    assert not {"run/error.txt", "run/results.json"} & files(tmp_path)

    refused = train(*NET, "dataset.batch_size=64", "resume=auto", "hydra.run.dir=run")
    assert "last.ckpt has 128 samples per batch over all devices; this run has 64" in refused.err
    resumed = program("sparseift.train", quick(*NET, *DEVICES, "resume=auto", "hydra.run.dir=run"), tmp_path, ranks=2)
    assert resumed.code == 0, resumed
    assert results(tmp_path / "run")["weights_sha256"] == results(two_ranks / "run")["weights_sha256"]


@pytest.mark.parametrize(
    ("how", "noted", "told"),
    [
        ("kill", "rank 1 was killed by SIGKILL, and the run with it", "rank 1 was killed by SIGKILL"),
        ("raise", "RuntimeError: rank 1 fails early", "rank 1 ended with exit code 1"),
    ],
)
def test_a_rank_that_ends_before_training(tmp_path, how, noted, told) -> None:
    """Rank 0 waits for it where ranks meet, and tells, instead of being killed without a word."""
    outcome = outcome_of(start(tmp_path, EARLY=how, GRACE="1"), tmp_path)
    assert outcome.code == 1, outcome
    ended(tmp_path, within=10)
    assert outcome.err.splitlines()[-1] == f"sparseift: {told}, and the run with it"
    assert (tmp_path / "run/error.txt").read_text().splitlines()[-1] == noted


STOPPED = {"SIGNAL": f"1 {int(signal.SIGSTOP)}", "SILENCE": "2", "POLL": "0.05"}
SILENT = re.compile(r"sparseift: (rank 1 \(process (\d+) on \S+\)) has not answered for 2 s; the run waits for it")


def is_stopped(said: re.Match[str]) -> bool:
    """Whether the process of a line is stopped. On a busy machine, a rank may be silent for 2 s by itself."""
    return Path(f"/proc/{said[2]}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_rank_that_is_stopped_for_a_while(tmp_path, two_ranks) -> None:  # noqa: F811
    run = start(tmp_path, **STOPPED)
    while not (said := next(filter(is_stopped, SILENT.finditer((tmp_path / "err").read_text())), None)):
        assert run.poll() is None
        time.sleep(0.2)
    os.kill(int(said[2]), signal.SIGCONT)
    outcome = outcome_of(run, tmp_path)
    assert outcome.code == 0, outcome
    assert f"sparseift: {said[1]} answers again" in outcome.err
    assert results(tmp_path / "run")["weights_sha256"] == results(two_ranks / "run")["weights_sha256"]


def test_a_rank_that_is_stopped_until_the_time_out(tmp_path) -> None:
    """The time-out is that of the strategy. No stopped process stays behind."""
    timeout = "{_target_: datetime.timedelta, seconds: 40}"
    strategy = f"trainer.strategy={{_target_: pytorch_lightning.strategies.DDPStrategy, timeout: {timeout}}}"
    outcome = outcome_of(start(tmp_path, strategy, **STOPPED), tmp_path)
    assert outcome.code == 2, outcome
    reason = f"{SILENT.search(outcome.err)[1]} did not answer until the time-out of the run"
    assert outcome.err.splitlines()[-1] == f"sparseift: {reason}"
    assert (tmp_path / "run/error.txt").read_text() == f"{reason}\n"
    ended(tmp_path, within=10)
