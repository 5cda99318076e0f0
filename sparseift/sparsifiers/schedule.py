"""The schedule of mask updates and drop fractions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, exp, pi

from ..common.checks import integer, number, one_of, require

ANNEALS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: (1 + cos(pi * progress)) / 2,  # RigL, section 3
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "exponential": lambda progress: exp(-progress),
}
"""Factors of the initial drop fraction. The progress is 0 at `begin` and 1 at `end`."""


def check_span(update_interval: int, begin: float, end: float, end_name: str = "end") -> None:
    """Raise `UserError` if the interval, the begin or the end of updates is not valid.

    Args:
        end_name: Name of the option that sets `end`.
    """
    integer("sparsifier.update_interval", update_interval, 1)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (begin, end))
    name, expected = f"(sparsifier.begin, sparsifier.{end_name})", "fractions of training with 0 <= begin < end <= 1"
    require(numbers and 0 <= begin < end <= 1, name, (begin, end), expected)


@dataclass(frozen=True)
class Schedule:
    """Updates at regular intervals, with a decreasing drop fraction. See `DropGrow` for the arguments."""

    update_interval: int
    begin: float
    end: float
    drop_fraction: float
    anneal: str

    def __post_init__(self) -> None:
        check_span(self.update_interval, self.begin, self.end)
        number("sparsifier.drop_fraction", self.drop_fraction, 0, 1, open_at="(")
        one_of("sparsifier.anneal", self.anneal, ANNEALS)

    def due(self, step: int, total: int) -> bool:
        """Return whether the masks are updated in optimizer step `step` (1, 2, ...) of `total`."""
        return int(self.begin * total) < step < int(self.end * total) and step % self.update_interval == 0

    def fraction(self, step: int, total: int) -> float:
        """Return the drop fraction of an update in optimizer step `step`."""
        begin, end = int(self.begin * total), int(self.end * total)
        return self.drop_fraction * ANNEALS[self.anneal](min(1.0, max(0.0, (step - begin) / max(1, end - begin))))
