"""The environment of a SLURM job, and requests to SLURM."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime

MOST_RESTARTS = 3
"""How often a job may have started again if it loses a task before it has saved a checkpoint."""

INTERACTIVE = ("bash", "interactive")
"""Names of jobs with a shell: srun has not started its processes as tasks of a run."""


def in_task() -> bool:
    """Whether srun started this process as a task of a run."""
    return "SLURM_STEP_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE


def first_process() -> bool:
    """Whether this is the first or only process of its run."""
    return all(int(os.environ.get(name, 0)) == 0 for name in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"))


def stands_in() -> bool:
    """Whether this task acts for rank 0 if that is lost: the second one, and the first one of each node."""
    return os.environ.get("SLURM_PROCID") == "1" or os.environ.get("SLURM_LOCALID") == "0"


def of_one_start() -> bool:
    """Whether rank 0 of this run, or SLURM, has started this process as another of its ranks."""
    return not first_process() and "TORCHELASTIC_RUN_ID" not in os.environ


def restarts() -> int:
    """Return how often SLURM has requeued the job of this task."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0) if in_task() else 0


def job_id() -> str:
    """Return the job id, NUMBER or ARRAY_TASK, which is the same on all ranks and after a requeue."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def started(pattern: str) -> str:
    """Return the current time in the format of strftime, or in a SLURM task the job and step, which all ranks share."""
    return f"job{job_id()}.{os.environ['SLURM_STEP_ID']}" if in_task() else datetime.now().strftime(pattern)


def requeue_after_loss(saved: bool) -> bool:
    """Requeue this job, which has lost a task, unless it would lose it again and again at the same place.

    Args:
        saved: Whether the job has saved a checkpoint since it has started.

    Returns:
        Whether the job will start again.
    """
    return (saved or restarts() < MOST_RESTARTS) and requeue()


def requeue() -> bool:
    """Requeue this job, unless it has been cancelled.

    Returns:
        Whether the job will start again.
    """

    def shown() -> str:
        return subprocess.run(["scontrol", "-o", "show", "job", job_id()], capture_output=True, text=True).stdout

    if "JobState=RUNNING" in shown().split():
        subprocess.run(["scontrol", "requeue", job_id()], capture_output=True)
    return f"Restarts={restarts() + 1}" in shown().split()
