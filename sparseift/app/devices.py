"""Divides the GPUs of a machine among parallel jobs.

joblib divides the cores: unless OMP_NUM_THREADS is set, a job gets the number of cores divided by the number of jobs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, takewhile
from pathlib import Path

from ..common.locks import Timeout, locked


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_workers() -> int:
    """Return the largest number of worker processes that can make sense on this machine."""
    return max(64, 8 * cores())


def most_ranks() -> int:
    """Return the largest number of ranks on the CPU that can make sense on this machine."""
    return max(16, 4 * cores())


def gpus_of(slot: int, gpus: Sequence[str], devices: int) -> list[str]:
    """Return the GPUs of the job in a slot (0, 1, ...). Slots share GPUs only if there are too few.

    Args:
        devices: The number of GPUs of each job.
    """
    groups = max(1, len(gpus) // devices)
    first = slot % groups * devices
    return list(gpus[first : first + devices])


def visible_gpus(accelerator: str) -> list[str]:
    """Return the GPUs that the accelerator of a Trainer can use, as CUDA_VISIBLE_DEVICES names them."""
    if accelerator not in ("auto", "gpu", "cuda"):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return list(takewhile(lambda name: name and not name.startswith("-"), names))  # -1 ends the list for CUDA, too
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def jobs_at_once(accelerator: str, devices: int | str) -> int:
    """Return how many jobs with `devices` devices each run at a time: one per GPU, or one per core without GPUs."""
    if not isinstance(devices, int) or devices < 1:
        return 1
    from joblib import cpu_count  # unlike os.cpu_count, it counts the cores that this process may use

    return max(1, (len(visible_gpus(accelerator)) or cpu_count()) // devices)


@contextmanager
def reserved_gpus(accelerator: str, devices: int | str | Sequence[int], sweep: Path) -> Iterator[dict[str, str]]:
    """Reserve GPUs for a job of a sweep until the context ends, and yield the environment variables of the job."""
    gpus = visible_gpus(accelerator)
    if not gpus or not isinstance(devices, int) or devices < 1:
        yield {}
        return
    with slot_in(sweep) as slot:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(gpus_of(slot, gpus, devices))}


@contextmanager
def slot_in(folder: Path) -> Iterator[int]:
    """Hold the lowest free slot (0, 1, ...) until the context or the process ends."""
    with ExitStack() as held:
        yield next(slot for slot in count() if _take(folder / f".slot{slot}.lock", held))


def _take(file: Path, held: ExitStack) -> bool:
    try:
        held.enter_context(locked(file, timeout=0))
    except Timeout:
        return False
    return True
