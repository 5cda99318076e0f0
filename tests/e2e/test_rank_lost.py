"""A run on two ranks of which one is killed, or told to leave."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from .programs import HERE, Outcome, checkpoint, environment, files, network_state, quick, results, saved_masks
from .test_ddp import DEVICES, NET, running, two_ranks  # noqa: F401


def on_two_ranks(folder: Path, rank: int, number: int) -> Outcome:
    """Of the process that was started, in whose thirteenth step the signal comes."""
    mark = f"+hydra.job.env_set.MARK={folder.name}"  # nothing that the run reads
    command = [sys.executable, str(HERE / "ranks_run.py"), *quick(*NET, *DEVICES, mark)]
    env = environment(SIGNAL=f"{rank} {int(number)}")
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        code = subprocess.run([*command, "hydra.run.dir=run"], cwd=folder, env=env, stdout=out, stderr=err).returncode
    return Outcome(code, (folder / "out").read_text(), (folder / "err").read_text())


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
    outcome = on_two_ranks(tmp_path, 1, signal.SIGTERM)
    assert outcome.code == 143, outcome
    assert outcome.err.count("stopped by SIGTERM after step 13 and saved") == 1
    assert checkpoint(tmp_path / "run")["global_step"] == 13
    ended(tmp_path, within=10)
    assert not {"run/error.txt", "run/results.json"} & files(tmp_path)

    refused = train(*NET, "dataset.batch_size=64", "resume=auto", "hydra.run.dir=run")
    assert "last.ckpt has 128 samples per batch over all devices; this run has 64" in refused.err
    resumed = program("sparseift.train", quick(*NET, *DEVICES, "resume=auto", "hydra.run.dir=run"), tmp_path, ranks=2)
    assert resumed.code == 0, resumed
    assert results(tmp_path / "run")["weights_sha256"] == results(two_ranks / "run")["weights_sha256"]
