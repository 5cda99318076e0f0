"""A sweep whose jobs run side by side on this machine."""

import os
import signal
import subprocess
import sys
import time

import pytest

from .programs import Outcome, environment, files, quick
from .test_ddp import heed_ctrl_c, running


def test_jobs_share_the_machine_and_one_fails(tmp_path) -> None:
    """Also with a launcher of a user's own that takes parallel.yaml over, and with a sparsifier from another folder."""
    mine(tmp_path / "own/hydra/launcher", "parallel")
    mine(tmp_path / "more/sparsifier", "set")
    overrides = quick(
        *("trainer=auto", "model._target_=tiny_nets.tells", "sparsity=0.5,1.5,0.75"),
        *(f"hydra.searchpath=[file://{tmp_path}/own]", "hydra/launcher=mine", "sparsifier=mine"),
        "sparsifier.update_interval=3",
        *(
            f"+hydra.job.env_set.MARK={tmp_path.name}",
            "+place=sweep",
            "hydra.sweep.dir=${place}",
            "hydra.sweep.subdir=${hydra:job.num}",
        ),
    )
    env = environment(CUDA_VISIBLE_DEVICES="5,7")  # which are not there, so the jobs use the CPU
    del env["OMP_NUM_THREADS"]
    command = [sys.executable, "-m", "sparseift.train", "-m", "--config-dir", "more", *overrides]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=250)
    outcome = Outcome(done.returncode, done.stdout, done.stderr)

    assert outcome.code == 1, outcome
    assert "1 of the jobs failed:\n  sweep/1: failed: sparsity" in outcome.err, outcome
    assert (tmp_path / "sweep/1/error.txt").read_text().startswith("sparsity")
    finished = [tmp_path / "sweep" / name for name in ("0", "2")]
    assert all((folder / "results.json").exists() for folder in finished)
    printed = [line for job in (tmp_path / "sweep").glob("?/output.log") for line in lines(job)]
    given = [line.split()[1:] for line in printed if line.startswith("given")]
    assert {gpu for gpu, _ in given} == {"5", "7"}
    assert {threads for _, threads in given} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}
    assert {name for name in files(tmp_path) if "/" not in name} == set()
    assert not running(tmp_path.name)


@pytest.mark.parametrize(
    ("number", "code", "launcher"), [(signal.SIGINT, 130, "mine"), (signal.SIGTERM, 143, "parallel")]
)
def test_stopped(tmp_path, number, code, launcher) -> None:
    """Ctrl-C comes to all processes, and SIGTERM to the one that was started."""
    mine(tmp_path / "own/hydra/launcher", "parallel")
    overrides = quick(
        *("model._target_=tiny_nets.normless", "recipe.epochs=5000", "seed=0,1,2", f"hydra/launcher={launcher}"),
        f"hydra.searchpath=[file://{tmp_path}/own]",
        *(f"+hydra.job.env_set.MARK={tmp_path.name}", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep"),
        "hydra.sweep.subdir=${hydra:job.num}",
    )
    command = [sys.executable, "-m", "sparseift.train", "-m", *overrides]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=heed_ctrl_c,
    ) as sweep:  # fmt: skip
        while not all((tmp_path / f"sweep/{job}/checkpoints/last.ckpt").exists() for job in (0, 1)):
            assert sweep.poll() is None
            time.sleep(0.2)
        (os.killpg if number == signal.SIGINT else os.kill)(sweep.pid, number)
        _, told = sweep.communicate(timeout=100)
    assert sweep.returncode == code, told
    assert told.splitlines()[-1] == f"sparseift: {'interrupted' if code == 130 else 'stopped by SIGTERM'}", told
    for job in (0, 1):
        assert f"stopped by {number.name} after step" in lines(tmp_path / f"sweep/{job}/output.log")[-1]
    assert not (tmp_path / "sweep/2").exists()
    assert not running(tmp_path.name)


def mine(group, choice: str) -> None:
    """A choice `mine` of a config group in a folder of a user's, which is another one under this name."""
    group.mkdir(parents=True)
    (group / "mine.yaml").write_text(f"defaults: [{choice}]\n")


def lines(path) -> list[str]:
    return path.read_text().splitlines()
