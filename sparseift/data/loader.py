"""A training loader that resumes within an epoch."""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..common.checks import require
from ..common.messages import one_line, say
from ..errors import UserError
from .sampler import EpochBatches, rank_and_world

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SHARED_MEMORY = Path("/dev/shm")
SHARED = 2**20
"""Bytes that must be free there: less than a few batches need, but enough for queues and locks."""

FILES, FILES_PER_WORKER = 24, 8
"""Files that a process has open without workers, and that each worker adds: pipes, and tensors on their way."""


def prepare_for_workers(workers: int) -> None:
    """Check that the machine has what data workers need, and end them if a batch is lost (see `_lost`).

    Raises:
        UserError: Too few files may be open, or /dev/shm, through which workers send batches, is full.
    """
    if not workers:
        return
    Queue._on_queue_feeder_error = staticmethod(_lost)  # type: ignore[attr-defined]
    for_workers = f"for dataset.num_workers={workers}"
    if resource:
        files, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], FILES + FILES_PER_WORKER * workers
        enough = files == resource.RLIM_INFINITY or files >= needed
        require(enough, "the limit of open files (ulimit -n)", files, f"at least {needed} {for_workers}")
    if SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(SHARED_MEMORY).free
        require(free >= SHARED, f"the free space in {SHARED_MEMORY}", free, f"at least {SHARED} bytes {for_workers}")


def start_worker(worker_id: int) -> None:
    """Prepare a worker process."""
    _ignore_signals()
    Queue._on_queue_feeder_error = staticmethod(_lost)  # type: ignore[attr-defined]


def _lost(error: Exception, item: Any) -> None:
    """Handle the error of a thread that sends batches, or their indices, to another process.

    Python would print it and go on, and the main process would wait for the batch forever. Instead the worker ends, or
    the main process ends its workers. torch raises an error in the main process when a worker has ended.
    """
    say(f"a batch cannot be sent between data workers: {one_line(error)}")
    if get_worker_info() is not None:
        os._exit(1)
    for worker in multiprocessing.active_children():
        worker.kill()


def _ignore_signals() -> None:
    """Ignore signals in a worker, except SIGTERM from the main process, with which torch ends workers.

    Ctrl-C and SLURM send signals to all processes of a run. The main process handles them.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def check_batches(state: Mapping[str, int], batches: EpochBatches) -> None:
    """Check that epochs have the same number of samples and batches as those of a checkpoint.

    Args:
        state: A state of `ResumableLoader`.

    Raises:
        UserError: They differ.
    """
    now = batches.samples, batches.global_batch
    then = state.get("samples", now[0]), state["global_batch"]  # version 0.1 may lack samples
    if then != now:
        raise UserError(
            f"the checkpoint has epochs of {then[0]} samples in batches of {then[1]} over all devices, but this run "
            f"has {now[0]} samples in batches of {now[1]}; resume with the same data, dataset.val_size, and "
            "dataset.batch_size times number of devices"
        )


class ResumableLoader(DataLoader):
    """Loads the batches of `EpochBatches`. Its state is its position: the epoch, and the number of batches taken in it.

    A batch counts when the training loop takes it, not when a worker loads it. A new iterator starts the next epoch if
    a batch has been taken, and the same epoch otherwise. Use one iterator at a time.

    This relies on the following in Lightning 2.6 (`fit_loop.py`, `training_epoch_loop.py`, `combined_loader.py`):

    - Lightning does not prefetch from a loader that has a length, so `state_dict` is exact.
    - After a resume, `len()` is still the length of the whole epoch; Lightning adds its own count of batches.
    - An epoch ends after `len()` or `limit_train_batches` batches, without a request for another batch. The position
      after that many batches is therefore the start of the next epoch.
    - A run that resumes after the last batch of an epoch calls `iter()` again if its validation was complete, and does
      not call it otherwise. Both must give the same epoch.
    - Lightning restores this state only if the epoch is incomplete and the loader has not been requested before (as
      `estimated_stepping_batches` does). `DataModule` therefore restores it, too.

    A checkpoint saved in `on_train_batch_end` of the last batch of an epoch is not supported: Lightning skips the
    validation of that epoch and miscounts the next one. Save it in `on_train_epoch_end`.

    Args:
        dataset: Data set whose `__getitems__` takes the tuples of `batches`.
        batches: Batch sampler.
        epoch: First epoch.
        limit: `limit_train_batches` of the Trainer: a number of batches (int) or a fraction of the epoch (float).
        options: Further arguments of `DataLoader`.
    """

    def __init__(
        self,
        dataset: Dataset,
        batches: EpochBatches,
        *,
        epoch: int = 0,
        limit: int | float = 1.0,
        **options: Any,
    ) -> None:
        # An iterator draws the seed of the workers from this generator instead of the global one.
        super().__init__(
            dataset,
            batch_sampler=batches,  # type: ignore[arg-type]  # data sets take its tuples in `__getitems__`
            generator=torch.Generator(),
            worker_init_fn=start_worker,
            **options,
        )
        self.batches = batches
        self.limit = limit
        self._move_to(epoch, 0)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self._yielded > self.batches.start:
            self._move_to(self.batches.epoch + 1, 0)
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._yielded += 1
            yield batch

    def _move_to(self, epoch: int, yielded: int) -> None:
        self.batches.epoch, self.batches.start, self._yielded = epoch, yielded, yielded

    def _batches_per_epoch(self) -> int:
        return min(len(self), self.limit) if isinstance(self.limit, int) else int(len(self) * self.limit)

    def state_dict(self) -> dict[str, int]:
        """Return the position, the same on every rank, and the sizes for which it is valid."""
        return {
            "epoch": self.batches.epoch,
            "batches_yielded": self._yielded,
            "samples": self.batches.samples,
            "global_batch": self.batches.global_batch,
            "devices": rank_and_world()[1],
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue with the batch after the position.

        Raises:
            UserError: The epochs of the checkpoint have another number or size of batches.
        """
        epoch, yielded = state["epoch"], state["batches_yielded"]
        check_batches(state, self.batches)
        if yielded >= self._batches_per_epoch():
            epoch, yielded = epoch + 1, 0
        self._move_to(epoch, yielded)
