"""The environment of a SLURM job, and requests to SLURM."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime

INTERACTIVE = ("bash", "interactive")
"""Names of jobs with a shell, whose processes are not started by srun."""


def in_task() -> bool:
    """Whether srun started this process, as one of the tasks of a run."""
    return "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def first_process() -> bool:
    """Whether this is the only process of its run, or the one that started the others."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"))


def restarted() -> bool:
    """Whether SLURM has requeued the job of this task before."""
    return in_task() and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


def job_id() -> str:
    """Return the job id, NUMBER or ARRAY_TASK: the same on every rank, and after a restart."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def started(pattern: str) -> str:
    """Return the start time of this run in the format of strftime. In a task of SLURM, return the job and step, which
    are the same on all ranks, and after a restart."""
    return f"job{job_id()}.{os.environ['SLURM_STEP_ID']}" if in_task() else datetime.now().strftime(pattern)


def requeue() -> None:
    """Requeue this job if it is running, not if it has been cancelled or is being requeued already."""
    shown = subprocess.run(["scontrol", "-o", "show", "job", job_id()], capture_output=True, text=True).stdout
    if "JobState=RUNNING" in shown.split():
        subprocess.run(["scontrol", "requeue", job_id()], capture_output=True)
