"""When masks are updated, and the share of active weights that is dropped then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, exp, pi

from ..errors import UserError

ANNEALS: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: (1 + cos(pi * progress)) / 2,  # RigL, section 3
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "exponential": lambda progress: exp(-progress),
}
"""Factor on the initial drop fraction; progress runs from 0 at the first possible update to 1 at the end."""


@dataclass(frozen=True)
class Schedule:
    """update_interval: optimizer steps between updates. begin, end: the span of updates, as fractions of all steps,
    both ends excluded. drop_fraction: at the start. anneal: a key of ANNEALS."""

    update_interval: int
    begin: float
    end: float
    drop_fraction: float
    anneal: str

    def __post_init__(self):
        for option in ("update_interval", "begin", "end", "drop_fraction"):
            value = getattr(self, option)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"sparsifier.{option} is {value}; a number is meant")
        if self.update_interval % 1 != 0 or self.update_interval < 1:
            raise UserError(
                f"sparsifier.update_interval is {self.update_interval}; it is a whole number of steps, 1 or more"
            )
        if not 0 <= self.begin < self.end <= 1:
            raise UserError(
                f"sparsifier.begin is {self.begin} and end {self.end}; fractions of training are meant, "
                "0 <= begin < end <= 1"
            )
        if not 0 < self.drop_fraction <= 1:
            raise UserError(
                f"sparsifier.drop_fraction is {self.drop_fraction}; a fraction in (0, 1] such as 0.3 is meant"
            )
        if not isinstance(self.anneal, str) or self.anneal not in ANNEALS:
            raise UserError(f"sparsifier.anneal is '{self.anneal}'; it is one of {', '.join(ANNEALS)}")

    def due(self, step: int, total: int) -> bool:
        """Whether the masks are updated in optimizer step `step` (1, 2, ...) of `total`."""
        return int(self.begin * total) < step < int(self.end * total) and step % self.update_interval == 0

    def fraction(self, step: int, total: int) -> float:
        """The drop fraction at this step."""
        begin, end = int(self.begin * total), int(self.end * total)
        return self.drop_fraction * ANNEALS[self.anneal](min(1.0, max(0.0, (step - begin) / max(1, end - begin))))
