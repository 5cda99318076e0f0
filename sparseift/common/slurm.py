"""What the environment of a SLURM job tells, and what a job can ask of SLURM."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime

INTERACTIVE = ("bash", "interactive")
"""Names of jobs in which a person types: what runs there was not started by srun."""


def in_task() -> bool:
    """Whether this process is a task that srun started, one of all that make up a run."""
    return "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def first_process() -> bool:
    """Whether this is the one process of its run, or the one that started the others."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"))


def restarted() -> bool:
    """Whether SLURM has put the job of this task back into the queue before."""
    return in_task() and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0


def job_id() -> str:
    """NUMBER, or ARRAY_TASK: the same in every rank, and after a restart."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def started(pattern: str) -> str:
    """When this run was started, as strftime writes it; in a task of SLURM its job and step, on which all ranks agree,
    also after a restart."""
    return f"job{job_id()}.{os.environ['SLURM_STEP_ID']}" if in_task() else datetime.now().strftime(pattern)


def requeue() -> None:
    """Put this job back into the queue, if it is running: one that was cancelled, or is going back already, is left as
    it is."""
    shown = subprocess.run(["scontrol", "-o", "show", "job", job_id()], capture_output=True, text=True).stdout
    if "JobState=RUNNING" in shown.split():
        subprocess.run(["scontrol", "requeue", job_id()], capture_output=True)
