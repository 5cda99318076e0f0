"""A sweep whose jobs run side by side on this machine."""

import os
import subprocess
import sys

from .programs import Outcome, environment, files, quick
from .test_ddp import running


def test_jobs_share_the_machine_and_one_fails(tmp_path) -> None:
    overrides = quick(
        *("trainer=auto", "model._target_=tiny_nets.tells", "sparsity=0.5,1.5,0.75", "hydra/launcher=parallel"),
        *(f"+mark={tmp_path.name}", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${hydra:job.num}"),
    )
    env = environment(CUDA_VISIBLE_DEVICES="5,7")  # which are not there, so the jobs use the CPU
    del env["OMP_NUM_THREADS"]
    command = [sys.executable, "-m", "sparseift.train", "-m", *overrides]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=250)
    outcome = Outcome(done.returncode, done.stdout, done.stderr)

    assert outcome.code == 1, outcome
    assert "1 of the jobs failed:\n  sweep/1: failed: sparsity" in outcome.err, outcome
    assert (tmp_path / "sweep/1/error.txt").read_text().startswith("sparsity")
    finished = [tmp_path / "sweep" / name for name in ("0", "2")]
    assert all((folder / "results.json").exists() for folder in finished)
    given = [line.split()[1:] for job in finished for line in lines(job / "output.log") if line.startswith("given")]
    assert {gpu for gpu, _ in given} == {"5", "7"}
    assert {threads for _, threads in given} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}
    assert {name for name in files(tmp_path) if "/" not in name} == set()
    assert not running(f"+mark={tmp_path.name}")


def lines(path) -> list[str]:
    return path.read_text().splitlines()
