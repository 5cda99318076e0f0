"""Finds the reason why training fails, which torch and Lightning may hide behind another error."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ..common.messages import one_line
from ..errors import UserError
from ..training.memory import is_out_of_memory
from .messages import EXPECTED

RESTORING = ("_restore_modules_and_callbacks", "restore_training_state")
"""Functions of Lightning that restore a checkpoint."""

FULL = "the disk is full, or /dev/shm, through which data workers send batches"
HANDLES = "raise the limit of open files (ulimit -n) or lower dataset.num_workers"
USED_UP = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "the size of files is limited (ulimit -f)",
    errno.EMFILE: HANDLES,
    errno.ENFILE: HANDLES,
}
"""Errors of the system that mean that the machine has run out of something, with advice."""

WITHOUT_METRIC = "Early stopping conditioned on metric `"
LOST_WORKER = "DataLoader worker (pid"
IN_WORKER = "in DataLoader worker process"
REASONS = {
    "Expected more than 1 value per channel": (
        "batch norm needs more than one sample in every batch, also in the last one of an epoch: "
        "choose another dataset.batch_size or dataset.val_size"
    ),
    "It looks like your LightningModule has parameters that were not used in producing the loss": (
        "some parameters of the network had no part in the loss of a step; "
        "choose trainer.strategy=ddp_find_unused_parameters_true"
    ),
    "When using the learning rate finder, either": (
        "the learning rate finder would train without masks; use a sweep, such as -m recipe.optimizer.lr=0.03,0.1"
    ),
    "You provided multiple `test_dataloader`": "dataset.test_dataloader returns several loaders; expected one",
}
"""Reasons of errors of torch and Lightning that a user can correct, by the start of the message."""


@contextmanager
def with_reason(checkpoint: Path | None, out_of_memory: Callable[[], str]) -> Iterator[None]:
    """Replace errors whose reason is known by a `UserError` of one line.

    Args:
        checkpoint: The checkpoint that is restored in the context, if any.
        out_of_memory: Returns what to say if a device has no memory left.
    """
    try:
        yield
    except Exception as error:
        told = isinstance(error, UserError) and IN_WORKER not in str(error)
        reason = None if told else _reason(error, checkpoint, out_of_memory)
        if reason is None:
            raise
        raise UserError(reason) from error


def _reason(error: Exception, checkpoint: Path | None, out_of_memory: Callable[[], str]) -> str | None:
    for hidden in _chain(error):
        text = str(hidden)
        if is_out_of_memory(hidden):
            return out_of_memory()
        if isinstance(hidden, OSError) and hidden.errno in USED_UP:
            return f"{one_line(hidden)}: {USED_UP[hidden.errno]}"
        if text.startswith(WITHOUT_METRIC):
            name, _, metrics = text.removeprefix(WITHOUT_METRIC).partition("`")
            return f"the monitor of EarlyStopping is {name!r}; expected one of {metrics.partition(': ')[2]}"
        if text.startswith(LOST_WORKER):
            return f"{one_line(hidden)} (dataset.num_workers)"
        if IN_WORKER in text and isinstance(hidden, EXPECTED):  # torch appends the traceback of the worker
            return text.strip().splitlines()[-1].partition(": ")[2]
        if known := next((reason for start, reason in REASONS.items() if text.startswith(start)), None):
            return known
    if isinstance(error, MisconfigurationException):
        return one_line(error)
    if checkpoint and _while_restoring(error):
        return f"{checkpoint} cannot be resumed from: {type(error).__name__}: {one_line(error, whole=False)}"
    return None


def _chain(error: BaseException | None) -> Iterator[Exception]:
    """Yield the error, and the errors that it was raised from or while handling."""
    while error is not None:
        if isinstance(error, Exception):
            yield error
        error = error.__cause__ or error.__context__


def _while_restoring(error: Exception) -> bool:
    """Whether Lightning raised the error when it restored the state in a checkpoint."""
    return any(frame.f_code.co_name in RESTORING for frame, _ in traceback.walk_tb(error.__traceback__))
