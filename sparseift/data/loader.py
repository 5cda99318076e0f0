"""A training loader that continues in the middle of an epoch, with the next batch."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from ..errors import UserError
from .sampler import EpochBatches, rank_and_world


def ignore_signals(worker_id: int) -> None:
    """Leave Ctrl-C and what asks a run to leave, which reach all its processes, to the main process. SIGTERM counts
    where it comes from there, which is how torch ends workers."""
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


class ResumableLoader(DataLoader):
    """Batches of `EpochBatches` with a position of plain integers: epoch and batches handed out in it.

    A batch counts when the training loop takes it, not when a worker is told to fetch it. Iterating again
    after at least one batch was taken starts the next epoch, so epoch k is the k-th one iterated; iterating
    again before that starts the same batches again. One iterator at a time.

    What it relies on in Lightning (2.6; `fit_loop.py`, `training_epoch_loop.py`, `combined_loader.py`):

    - a checkpoint holds `state_dict()`, taken while no batch is fetched ahead: the fetcher does not prefetch
      from a loader that has a length;
    - `len()` stays that of the whole epoch after a resume; Lightning adds the batches that its own progress
      has done;
    - an epoch ends after `len()` or `limit_train_batches` batches without asking for one more, so a position
      at that count is the beginning of the next epoch (a checkpoint of the last batch resumes there);
    - a run resumed on the last batch calls `iter()` again with no batch taken if its validation was done by
      then, and does not if it was not; both must give the same epoch;
    - Lightning itself restores this state only where an epoch is unfinished and no one asked for the loader
      before its progress was restored (`estimated_stepping_batches` does): `ImageData` therefore restores it
      too, the same position twice being harmless.

    What it cannot repair: a run resumed from a checkpoint made in `on_train_batch_end` of an epoch's last batch
    goes on with the right batches, but Lightning skips that epoch's validation and counts the next epoch wrongly
    in checkpoints, so that resuming a second time fails. Save that checkpoint in `on_train_epoch_end`.

    Args:
        epoch: the epoch to begin with.
        limit: the Trainer's `limit_train_batches`: a number of batches (int) or a fraction of the epoch
            (float).
        options: further arguments of `DataLoader`.
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
        # Its own generator: an iterator draws the workers' base seed from it, else from the global one.
        super().__init__(
            dataset,
            batch_sampler=batches,
            generator=torch.Generator(),
            worker_init_fn=ignore_signals,
            **options,
        )
        self.batches = batches
        self.limit = limit
        self._move_to(epoch, 0)

    def __iter__(self) -> Iterator[Any]:
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
        """The position, the two numbers that it is only good for, and the number of ranks; the same on every rank."""
        return {
            "epoch": self.batches.epoch,
            "batches_yielded": self._yielded,
            "images": self.batches.images,
            "global_batch": self.batches.global_batch,
            "devices": rank_and_world()[1],
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the last batch of `state`; an epoch that was complete gives way to the next.

        Raises:
            UserError: the position is inside an epoch that other batches make up here.
        """
        epoch, yielded = state["epoch"], state["batches_yielded"]
        then = state["images"], state["global_batch"]
        now = self.batches.images, self.batches.global_batch
        if yielded and then != now:
            raise UserError(
                f"the checkpoint is from inside an epoch of {then[0]} images in batches of {then[1]} over "
                f"all devices, this run has {now[0]} in batches of {now[1]}: resume with the same "
                "dataset.val_size, dataset.batch_size and number of devices"
            )
        if yielded >= self._batches_per_epoch():
            epoch, yielded = epoch + 1, 0
        self._move_to(epoch, yielded)
