"""The parts of every check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class LeftOut(Exception):
    """The reason why a check is not done on this machine."""


@dataclass(frozen=True)
class Setting:
    """What the checks run on.

    Args:
        device: 'cuda' or 'cpu'.
        quick: Whether sizes are so small that times mean nothing.
        folder: Folder for the runs and the trace.
    """

    device: str
    quick: bool
    folder: Path

    def __call__(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def needs_gpu(self, what: str) -> None:
        """Raise `LeftOut` on a CPU."""
        if self.device == "cpu":
            raise LeftOut(f"{what} needs a GPU")


@dataclass
class Outcome:
    """What a check has found.

    Args:
        passed: Whether all that it states holds.
        figures: What was measured, by name.
    """

    passed: bool
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    name: str
    title: str
    run: Callable[[Setting], Outcome]


CHECKS: dict[str, Check] = {}


def check(title: str) -> Callable[[Callable[[Setting], Outcome]], Callable[[Setting], Outcome]]:
    """Register a function as a check, under its name."""

    def mark(run: Callable[[Setting], Outcome]) -> Callable[[Setting], Outcome]:
        CHECKS[run.__name__] = Check(run.__name__, title, run)
        return run

    return mark
