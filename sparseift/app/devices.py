"""What each of several jobs on one machine gets of it. The cores are shared out by joblib: OMP_NUM_THREADS of a job is
the cores by the jobs, unless it is set.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig


def gpus_of(slot: int, gpus: Sequence[str], devices: int) -> list[str]:
    """The GPUs of the job in `slot` (0, 1, ...), `devices` of all. Slots have none in common while there are enough,
    and then take turns."""
    groups = max(1, len(gpus) // devices)
    first = slot % groups * devices
    return list(gpus[first : first + devices])


def visible_gpus(accelerator: str) -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them, up to the first name that is none, such as -1; none where the trainer uses
    none."""
    if accelerator not in ("auto", "gpu", "cuda"):
        return []
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        return list(takewhile(lambda name: name and not name.startswith("-"), names))
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def jobs_at_once(accelerator: str, devices: int | str) -> int:
    """One for every `devices` GPUs, or CPU cores where there are no GPUs; one if a job takes all devices."""
    if not isinstance(devices, int) or devices < 1:
        return 1
    from joblib import cpu_count  # of what this process may use

    return max(1, (len(visible_gpus(accelerator)) or cpu_count()) // devices)


@contextmanager
def share_of(config: DictConfig) -> Iterator[dict[str, str]]:
    """The environment of the job of `config` that gives it its own GPUs, as long as the context lasts."""
    gpus, devices = visible_gpus(config.trainer.accelerator), config.trainer.devices
    if not gpus or not isinstance(devices, int) or devices < 1:
        yield {}
        return
    with slot_in(Path(HydraConfig.get().sweep.dir) / "multirun.yaml") as slot:
        yield {"CUDA_VISIBLE_DEVICES": ",".join(gpus_of(slot, gpus, devices))}


@contextmanager
def slot_in(file: Path) -> Iterator[int]:
    """The least number that no other process has at the time: it locks that byte of the file until the context, or the
    process, ends."""
    with file.open("r+b") as locked:
        for slot in count():
            try:
                fcntl.lockf(locked, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except BlockingIOError:
                continue
            yield slot
            return
