"""The description of a metric, as a task states it and as results.json records it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PERCENT = "%"


@dataclass(frozen=True)
class Metric:
    """A number by which runs are judged.

    Args:
        name: Its key in results.json, and in metrics.csv after "train/", "val/" or "test/".
        label: Its name in tables and figures.
        unit: Shown after the value. A value whose unit is "%" is stored as a fraction and shown times 100.
        higher_is_better: The direction in which a run improves.
        of_mean: The metric as a function of the mean over samples, such as `math.exp` for the perplexity of a mean
            loss. By default the mean itself.
    """

    name: str
    label: str
    unit: str = ""
    higher_is_better: bool = True
    of_mean: Callable[[float], float] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Metric:
        """The metric that `as_dict` described."""
        return cls(**description)

    def as_dict(self) -> dict[str, Any]:
        """The description without `of_mean`: recorded values have that applied."""
        return {
            "name": self.name,
            "label": self.label,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
        }

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value is an improvement; never for NaN."""
        return value > than if self.higher_is_better else value < than

    def shown(self, value: float) -> float:
        """The value in its unit."""
        return 100 * value if self.unit == PERCENT else value

    def text(self, value: float) -> str:
        """The value with two decimals and its unit, such as "97.77 %"."""
        return f"{self.shown(value):.2f} {self.unit}".rstrip()
