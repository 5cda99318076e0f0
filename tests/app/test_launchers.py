"""Launchers of sweeps: what they refuse, and what a job of SLURM knows of itself. See tests/slurm for what they do."""

import os
from pathlib import Path

import pytest

from sparseift.app.launchers import SweepFolder, check_launcher, devices_per_node, failures, gpus_per_node, refusal
from sparseift.common import slurm
from sparseift.errors import UserError

from ..report.folders import write_run

TASK = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train"}


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return lambda **variables: [monkeypatch.setenv(name, value) for name, value in variables.items()]


@pytest.mark.parametrize(
    ("overrides", "sweep", "said"),
    [
        (
            ["hydra/launcher=slurm"],
            False,
            "hydra/launcher=slurm needs the option -m .*, also for a single job",
        ),
        (["hydra/launcher=parallel"], False, "hydra/launcher=parallel needs the option -m"),
        (["hydra/launcher=mine"], False, "hydra/launcher=mine needs the option -m"),
        (["hydra/launcher=slurm", "trainer.devices=1,2"], True, "start one sweep for each trainer.devices"),
        (["hydra/launcher=slurm", "trainer=auto,ddp"], True, "start one sweep for each trainer"),
    ],
)
def test_what_is_refused(monkeypatch, overrides, sweep, said) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(UserError, match=said):
        check_launcher(overrides, sweep)


def test_what_is_not_installed(monkeypatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="needs sbatch, which is not installed"):
        check_launcher(["hydra/launcher=slurm"], sweep=True)
    monkeypatch.setattr("sparseift.app.launchers.find_spec", lambda module: None)
    for name in ("slurm", "parallel"):
        with pytest.raises(UserError, match=rf"pip install 'sparseift\[{name}\]'"):
            check_launcher([f"hydra/launcher={name}"], sweep=True)
    check_launcher(["hydra/launcher=basic", "seed=1,2"], sweep=True)


def test_what_a_node_gives() -> None:
    assert (devices_per_node(8), gpus_per_node("auto", 8), gpus_per_node("cpu", 2)) == (8, 8, None)
    for devices in ("auto", -1, [0, 1]):
        with pytest.raises(UserError, match=r"trainer\.devices is .*; expected an integer >= 1"):
            devices_per_node(devices)


def test_what_sbatch_refuses() -> None:
    said = "sbatch: error: invalid partition: x\nsbatch: error: Batch job submission failed: Invalid partition"
    assert str(refusal(RuntimeError(said))) == "SLURM rejects the jobs: Batch job submission failed: Invalid partition"
    assert refusal(RuntimeError("CUDA out of memory")) is None


def test_failures_of_a_sweep(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(SweepFolder, "path", tmp_path)
    for job in ("0", "1", "2"):
        write_run(tmp_path / job, finished=job == "0")
    (tmp_path / "1/error.txt").write_text("Traceback\nValueError: no\n")
    (tmp_path / ".submitit").mkdir()
    lines = failures(since=0)
    assert [Path(line.split(":")[0]).name for line in lines] == ["1", "2"]
    assert "failed: ValueError: no" in lines[0] and "unfinished" in lines[1]


def test_a_run_under_srun_is_named_after_its_job(environment) -> None:
    assert slurm.started("%Y").isdigit() and not slurm.in_task()
    environment(**TASK)
    assert slurm.started("%Y") == "job7.0"
    environment(SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID="2")
    assert slurm.started("%Y") == "job5_2.0"
    environment(SLURM_JOB_NAME="bash")  # a person in salloc or srun --pty
    assert slurm.started("%Y").isdigit()


@pytest.mark.parametrize(("count", "restarts"), [(None, 0), ("0", 0), ("1", 1), ("12", 12)])
def test_restarts(environment, count, restarts) -> None:
    environment(**TASK, **({"SLURM_RESTART_COUNT": count} if count else {}))
    assert slurm.restarts() == restarts


@pytest.mark.parametrize(("state", "asked"), [("RUNNING", True), ("COMPLETING", False), ("CANCELLED", False)])
def test_only_a_running_job_goes_back_into_the_queue(environment, tmp_path, monkeypatch, state, asked) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\necho JobId=7 JobState={state} Reason=None\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    environment(**TASK)
    slurm.requeue()
    assert ("requeue 7\n" in (tmp_path / "asked").read_text()) is asked
