"""The division of a machine's GPUs among parallel jobs.

joblib divides the cores: OMP_NUM_THREADS of a job is the number of cores divided by the number of jobs, unless set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, takewhile
from pathlib import Path

from ..common.locks import Timeout, locked


def gpus_of(slot: int, gpus: Sequence[str], devices: int) -> list[str]:
    """Return the GPUs of the job in a slot.

    Slots share no GPU while there are enough of them. After that they take turns.

    Args:
        slot: 0, 1, ...
        gpus: All GPUs.
        devices: The number of GPUs of each job.
    """
    groups = max(1, len(gpus) // devices)
    first = slot % groups * devices
    return list(gpus[first : first + devices])


def visible_gpus(accelerator: str) -> list[str]:
    """Return the GPUs that the accelerator of a Trainer uses, as CUDA_VISIBLE_DEVICES names them.

    As for CUDA, a name such as -1 ends the list.
    """
    if accelerator not in ("auto", "gpu", "cuda"):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return list(takewhile(lambda name: name and not name.startswith("-"), names))
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def jobs_at_once(accelerator: str, devices: int | str) -> int:
    """Return how many jobs of `devices` devices each fit on the machine: by GPUs, or by cores if there are no GPUs."""
    if not isinstance(devices, int) or devices < 1:
        return 1
    from joblib import cpu_count  # counts the cores that this process may use

    return max(1, (len(visible_gpus(accelerator)) or cpu_count()) // devices)


@contextmanager
def reserved_gpus(accelerator: str, devices: int | str | Sequence[int], sweep: Path) -> Iterator[dict[str, str]]:
    """Reserve GPUs for a job of a sweep until the context ends. Yields environment variables for the job."""
    gpus = visible_gpus(accelerator)
    if not gpus or not isinstance(devices, int) or devices < 1:
        yield {}
        return
    with slot_in(sweep) as slot:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(gpus_of(slot, gpus, devices))}


@contextmanager
def slot_in(folder: Path) -> Iterator[int]:
    """Hold the least slot (0, 1, ...) that no other process holds, until the context or the process ends."""
    with ExitStack() as held:
        yield next(slot for slot in count() if _take(folder / f".slot{slot}.lock", held))


def _take(file: Path, held: ExitStack) -> bool:
    try:
        held.enter_context(locked(file, timeout=0))
    except Timeout:
        return False
    return True
