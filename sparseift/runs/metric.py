"""Metrics of a task, as results.json describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import floor, log10
from typing import Any

from ..common.checks import boolean, require

PERCENT = "%"
SIGNIFICANT, MOST_DECIMALS = 4, 12  # digits of values that are not percentages
DESCRIBED = ("name", "label", "unit", "higher_is_better")


@dataclass(frozen=True)
class Metric:
    """A number by which runs are judged.

    Args:
        name: The key in results.json, and in metrics.csv after "train/", "val/" or "test/".
        label: The name in tables and figures.
        unit: The unit of shown values. Values in "%" are stored as fractions.
        of_mean: The metric as a function of the mean over samples, such as `math.exp` for the perplexity. By default,
            the mean itself.
    """

    name: str
    label: str
    unit: str = ""
    higher_is_better: bool = True
    of_mean: Callable[[float], float] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for key in ("name", "label", "unit"):
            require(isinstance(getattr(self, key), str), f"Metric.{key}", getattr(self, key), "a string")
        boolean("Metric.higher_is_better", self.higher_is_better)

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Metric:
        """Return the metric that `as_dict` described."""
        return cls(**{key: description[key] for key in DESCRIBED})

    def as_dict(self) -> dict[str, Any]:
        """Return the description, without `of_mean`: recorded values have it applied."""
        return {key: getattr(self, key) for key in DESCRIBED}

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value is an improvement. NaN never is."""
        return value > than if self.higher_is_better else value < than

    def shown(self, value: float) -> float:
        """Return the value in its unit."""
        return 100 * value if self.unit == PERCENT else value

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two values: percentage points for percentages."""
        return "points" if self.unit == PERCENT else self.unit

    def decimals(self, shown: float) -> int:
        """Return how many decimals to print for values of this magnitude: two for percentages, otherwise as many as
        four significant digits need.
        """
        if self.unit == PERCENT or not shown:
            return 2
        return min(MOST_DECIMALS, max(0, SIGNIFICANT - 1 - floor(log10(abs(shown)))))

    def text(self, value: float) -> str:
        """Return the value as it is printed, such as "97.77 %"."""
        shown = self.shown(value)
        return f"{shown:.{self.decimals(shown)}f} {self.unit}".rstrip()
