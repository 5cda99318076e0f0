"""Sweeps in the queue of a real SLURM of two nodes. Whatever happens to their jobs, they end with the weights of a run
on as many ranks that nothing happened to."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from ..e2e.programs import checkpoint, environment, files, results
from ..e2e.test_ddp import NET
from .conftest import SCRIPT, until

pytestmark = pytest.mark.timeout(600)

ONE_NODE, TWO_NODES = ("trainer.devices=2",), ("trainer.devices=1", "trainer.num_nodes=2")
OFTEN = "checkpoint.every_n_steps=1"


def weights(folder: Path) -> str:
    return results(folder)["weights_sha256"]


@pytest.fixture
def one_rank(trained) -> Path:
    return trained(*NET, "dataset.batch_size=64")


def test_an_array_of_two_jobs_with_two_tasks_each_of_which_one_fails(cluster, two_ranks) -> None:
    sweep = cluster.sweep(*ONE_NODE, "dataset.val_size=200,5000", "hydra.launcher.exclude=n2")
    assert sweep.wait() == 1, cluster.said
    assert weights(cluster.folder / "sweep/0") == weights(two_ranks / "run")
    reason = "dataset.val_size is 5000; expected an integer from 0 to 1437"
    assert (cluster.folder / "sweep/1/error.txt").read_text() == f"{reason}\n"
    assert f"1 of the jobs failed:\n  sweep/1: failed: {reason}" in cluster.said
    assert not (cluster.folder / "sweep/1/results.json").exists()
    tasks = {path.name for path in cluster.folder.glob("sweep/.submitit/*/*_log.out")}
    array = min(tasks).split("_")[0]
    assert tasks == {f"{array}_{job}_{task}_log.out" for job in (0, 1) for task in (0, 1)}
    assert {line.split("|")[2] for line in cluster("sacct").splitlines()[1:]} == {"n1"}


def test_two_nodes_preempted_twice(cluster, two_ranks) -> None:
    """By whoever runs the cluster, and by the time limit."""
    (cluster.folder / "slow").touch()
    sweep = cluster.sweep(*TWO_NODES, "hydra.launcher.timeout_min=10", "hydra.launcher.signal_delay_s=30")
    job = cluster.job()
    cluster.wait_for("training")
    cluster("scontrol", "requeue", job)
    cluster.wait_for_log("stopped by SIGTERM after step")
    saved = checkpoint(cluster.folder / "sweep/0")["global_step"]
    assert (
        0 < saved < 20 and f"after step {saved} and saved; the run resumes when its job starts again" in cluster.log()
    )

    cluster.wait_for("training")
    cluster("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    cluster.wait_for_log("stopped by SIGUSR2 after step")
    cluster("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    (cluster.folder / "slow").unlink()
    assert sweep.wait() == 0, cluster.said
    assert weights(cluster.folder / "sweep/0") == weights(two_ranks / "run")
    assert cluster.log().count("epoch 1/2") == cluster.log().count("epoch 2/2") == 1
    assert "Restarts=2" in cluster("scontrol", "show", "job", job)
    assert "sweep/0/error.txt" not in files(cluster.folder)


def test_two_nodes_leave_before_the_first_step(cluster, two_ranks) -> None:
    """When the cluster asks them to, and when rank 0 is lost."""
    (cluster.folder / "slow").touch()
    sweep = cluster.sweep(*TWO_NODES)
    job = cluster.job()
    cluster.wait_for("built")
    cluster("scontrol", "requeue", job)
    cluster.wait_for_log("stopped by SIGTERM; the run resumes when its job starts again")

    cluster.wait_for("built")
    os.kill(cluster.rank_0(job), signal.SIGKILL)
    until(lambda: "Restarts=2" in cluster("scontrol", "show", "job", job), "the job to be in the queue again")
    (cluster.folder / "slow").unlink()
    assert sweep.wait() == 0, cluster.said
    assert weights(cluster.folder / "sweep/0") == weights(two_ranks / "run")
    assert cluster.log().count("epoch 1/2") == 1
    assert "sweep/0/error.txt" not in files(cluster.folder)


def test_killed_and_submitted_again(cluster, two_ranks) -> None:
    (cluster.folder / "slow").touch()
    sweep = cluster.sweep(*ONE_NODE, OFTEN)
    job = cluster.job()
    until((cluster.folder / "sweep/0/checkpoints/last.ckpt").exists, "a checkpoint")
    for rank in cluster.ranks(job):
        os.kill(rank, signal.SIGKILL)
    assert sweep.wait() == 1, cluster.said
    assert "1 of the jobs failed:\n  sweep/0: " in cluster.said
    assert not cluster("squeue", "--noheader")

    (cluster.folder / "slow").unlink()
    again = cluster.sweep(*ONE_NODE, OFTEN, "sweep.resume=true")
    assert again.wait() == 0, cluster.said
    assert weights(cluster.folder / "sweep/0") == weights(two_ranks / "run")
    assert "sweep/0/error.txt" not in files(cluster.folder)


def test_one_of_two_nodes_loses_its_process(cluster, two_ranks) -> None:
    """The other one sends the job back into the queue."""
    (cluster.folder / "slow").touch()
    sweep = cluster.sweep(*TWO_NODES, OFTEN)
    job = cluster.job()
    until((cluster.folder / "sweep/0/checkpoints/last.ckpt").exists, "a checkpoint")
    os.kill(cluster.ranks(job)[-1], signal.SIGKILL)
    cluster.wait_for_log("another rank has ended; the run resumes when its job starts again")
    (cluster.folder / "slow").unlink()
    assert sweep.wait() == 0, cluster.said
    assert "Restarts=1" in cluster("scontrol", "show", "job", job)
    assert weights(cluster.folder / "sweep/0") == weights(two_ranks / "run")
    assert "sweep/0/error.txt" not in files(cluster.folder)


def test_a_rank_that_fails_ends_the_job(cluster) -> None:
    """With the reason, which is the same the next time."""
    sweep = cluster.sweep(*ONE_NODE, OFTEN, "model._target_=tiny_nets.fails_on", "+model.rank=1")
    job = cluster.job()
    assert sweep.wait() == 1, cluster.said
    assert "sweep/0: failed: RuntimeError: rank 1 fails on purpose" in cluster.said
    assert "Restarts=0" in cluster("scontrol", "show", "job", job)


def test_a_node_that_goes_down(cluster, one_rank) -> None:
    """As without power: SLURM hears nothing of it any more, and starts the job on the other one."""
    (cluster.folder / "slow").touch()
    sweep = cluster.sweep("trainer.devices=1", OFTEN)
    job = cluster.job()
    until((cluster.folder / "sweep/0/checkpoints/last.ckpt").exists, "a checkpoint")
    node = cluster("squeue", "--noheader", "--format=%N")
    os.kill(int(Path(cluster.env["SLURM_SANDBOX"], f"slurmd.{node}.pid").read_text()), signal.SIGKILL)
    for number in cluster.processes(job):
        os.kill(number, signal.SIGKILL)
    (cluster.folder / "slow").unlink()
    assert sweep.wait() == 0, cluster.said
    assert weights(cluster.folder / "sweep/0") == weights(one_rank)
    other = {"n1": "n2", "n2": "n1"}[node]
    until(lambda: f"{job}|COMPLETED|{other}" in cluster("sacct").splitlines(), f"{job} to end on {other}")
    assert cluster("sinfo", "--noheader", "--Node", f"--nodes={node}", "--partition=main", "--format=%t") == "down*"


def test_the_sandbox_leaves_nothing_behind(tmp_path) -> None:
    env = environment(SLURM_SANDBOX=str(tmp_path / "cluster"))

    def sandbox(command: str) -> subprocess.CompletedProcess:
        return subprocess.run([SCRIPT, command], env=env, capture_output=True, text=True)

    said = sandbox("start").stdout
    assert said == f"export SLURM_CONF={tmp_path}/cluster/slurm.conf PATH={tmp_path}/cluster/bin:$PATH\n"
    assert [line.split()[0] for line in sandbox("status").stdout.splitlines() if line[:1] == "n"] == 2 * ["n1"] + 2 * [
        "n2"
    ]
    assert sandbox("start").returncode == 1
    subprocess.run(["sbatch", "--wrap", "srun sleep 100"], env=env | {"SLURM_CONF": f"{tmp_path}/cluster/slurm.conf"})
    assert sandbox("stop").returncode == 0
    assert not (tmp_path / "cluster").exists()
    assert not mentioned(str(tmp_path / "cluster"))
    assert sandbox("status").stderr == f"slurm_sandbox: not running (no {tmp_path}/cluster)\n"


def test_a_sandbox_that_can_not_start(tmp_path) -> None:
    """Its port has been taken by the time the controller wants it."""
    env, home = environment(SLURM_SANDBOX=str(tmp_path / "cluster")), tmp_path / "cluster"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "python3").write_text(f"#!/bin/sh\necho {port} {port} {port}\n")
        (tmp_path / "python3").chmod(0o755)
        env["PATH"] = f"{tmp_path}:{env['PATH']}"
        start = subprocess.run([SCRIPT, "start"], env=env, capture_output=True, text=True, timeout=60)
    assert (start.returncode, start.stdout) == (1, "")
    assert start.stderr.endswith("Address already in use\nslurm_sandbox: did not start\n")
    assert not home.exists() and not mentioned(str(home))


def test_only_a_sandbox_is_removed(tmp_path) -> None:
    (tmp_path / "mine").touch()
    env = environment(SLURM_SANDBOX=str(tmp_path))
    stop = subprocess.run([SCRIPT, "stop"], env=env, capture_output=True, text=True)
    assert (stop.returncode, stop.stderr) == (1, f"slurm_sandbox: {tmp_path} is no sandbox of yours\n")
    assert (tmp_path / "mine").exists()


def mentioned(text: str) -> list[str]:
    """Processes that have `text` in their command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                found.append((folder / "comm").read_text())
        except OSError:
            pass
    return found
