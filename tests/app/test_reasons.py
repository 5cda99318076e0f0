"""The reason of an error of training in one line, also where another error hides it."""

import errno
from pathlib import Path

import pytest
import torch

from sparseift.app.reasons import with_reason
from sparseift.errors import UserError

CHECKPOINT = Path("run/checkpoints/last.ckpt")

IN_WORKER = UserError(
    "Caught UserError in DataLoader worker process 0.\nOriginal Traceback\nsparseift.errors.UserError: x.jpg is damaged"
)


def told_of_memory() -> str:
    return "too large"


def hiding(error: Exception) -> None:
    """As Lightning does when it cleans up after an error."""
    try:
        raise error
    except Exception:
        raise RuntimeError("Please call `iter(combined_loader)` first.")  # noqa: B904


def restore_training_state() -> None:
    raise KeyError("fit_loop")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: the disk is full, or /dev/shm"),
        (OSError(errno.EMFILE, "Too many open files"), r"Too many open files: raise the limit of open files"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), r"killed by signal.*num_workers"),
        (ValueError("Expected more than 1 value per channel when training"), "batch norm needs more than one sample"),
        (
            RuntimeError("Early stopping conditioned on metric `a` which is not available. Use: `loss`, `val/acc1`"),
            "^the monitor of EarlyStopping is 'a'; expected one of `loss`, `val/acc1`$",
        ),
        (AttributeError("When using the learning rate finder, either `model` or"), "use a sweep"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nstack"), "^too large$"),
        (RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"), "^too large$"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "^too large$"),
        (MemoryError(), "^too large$"),
        (
            UserError(
                "Caught UserError in DataLoader worker process 0.\nTraceback\nsparseift.errors.UserError: bad.jpg"
            ),
            "^bad.jpg$",
        ),
    ],
)
def test_hidden_by_another_error(error: Exception, told: str) -> None:
    with pytest.raises(UserError, match=told) as raised, with_reason(None, told_of_memory):
        hiding(error)
    assert "\n" not in str(raised.value)


def test_of_a_worker() -> None:
    with pytest.raises(UserError, match=r"^x\.jpg is damaged$"), with_reason(None, told_of_memory):
        raise IN_WORKER


def test_a_checkpoint_that_lacks_parts() -> None:
    with (
        pytest.raises(UserError, match=r"last.ckpt cannot be resumed from: KeyError: 'fit_loop'"),
        with_reason(CHECKPOINT, told_of_memory),
    ):
        restore_training_state()
    with pytest.raises(KeyError), with_reason(None, told_of_memory):
        restore_training_state()


@pytest.mark.parametrize(
    "error", [KeyError("a mistake in the code"), FileNotFoundError("x.png"), UserError("as it is")]
)
def test_other_errors_stay(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, with_reason(CHECKPOINT, told_of_memory):
        raise error
    assert raised.value is error


def test_names_of_lightning() -> None:
    """An upgrade that renames the functions fails here."""
    from pytorch_lightning.trainer.connectors.checkpoint_connector import _CheckpointConnector

    from sparseift.app.reasons import RESTORING

    assert all(callable(getattr(_CheckpointConnector, name)) for name in RESTORING)


def test_messages_of_lightning() -> None:
    """An upgrade that words them otherwise fails here."""
    from pytorch_lightning import LightningModule
    from pytorch_lightning.callbacks import EarlyStopping
    from pytorch_lightning.tuner.lr_finder import _determine_lr_attr_name

    told = "^the monitor of EarlyStopping is 'a'; expected one of `b`$"
    with pytest.raises(UserError, match=told), with_reason(None, told_of_memory):
        EarlyStopping("a")._validate_condition_metric({"b": torch.zeros(())})
    with pytest.raises(UserError, match="use a sweep"), with_reason(None, told_of_memory):
        _determine_lr_attr_name(LightningModule())
