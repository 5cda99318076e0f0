"""Ranks that look for a checkpoint on their own must find the same one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sparseift import UserError
from sparseift.training.callbacks import SameStart


def ranks(*found: Path | None) -> list[bool]:
    """Whether each rank starts."""
    callbacks = [SameStart(path) for path in found]
    same = [callback.found == callbacks[0].found for callback in callbacks]
    strategy = SimpleNamespace(
        broadcast=lambda _: callbacks[0].found, reduce_boolean_decision=lambda decision, all: decision and min(same)
    )
    trainer = SimpleNamespace(world_size=len(found), strategy=strategy)

    def starts(callback: SameStart) -> bool:
        try:
            callback.setup(trainer, None, "fit")
        except UserError:
            return False
        return True

    return [starts(callback) for callback in callbacks]


LAST = Path("run/checkpoints/last.ckpt")


@pytest.mark.parametrize("found", [(None, None), (LAST, LAST), (LAST,), (LAST, Path("/other/mount") / LAST)], ids=str)
def test_the_same(found: tuple) -> None:
    assert all(ranks(*found))


@pytest.mark.parametrize("found", [(LAST, None), (None, LAST, None), (LAST, LAST, LAST.with_name("previous.ckpt"))])
def test_all_ranks_end_if_one_differs(found: tuple) -> None:
    assert not any(ranks(*found))
