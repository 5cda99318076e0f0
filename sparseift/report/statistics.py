"""Standard deviations and confidence intervals over a few seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev, variance

from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


def spread(values: Iterable[float]) -> float | None:
    """Return the sample standard deviation, None for fewer than two values."""
    values = list(values)
    return stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """A difference of two means.

    Attributes:
        interval: The confidence interval, None if the runs have no spread.
        how: The number of pairs or runs, in words.
        p: The two-sided p-value of the t test, None if the runs have no spread.
    """

    mean: float
    interval: tuple[float, float] | None
    how: str
    p: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference:
    """Return the mean difference of the scores of two methods, ours - theirs, with its t interval.

    With at least two common seeds, the difference is over pairs with the same seed: they see the same samples in the
    same order, so part of the noise cancels. Otherwise it is over all runs, with Welch's t interval.

    Args:
        ours: Scores by seed.
        theirs: Scores by seed.
    """
    common = sorted(ours.keys() & theirs.keys())
    if len(common) > 1:
        pairs = [ours[seed] - theirs[seed] for seed in common]
        error = stdev(pairs) / sqrt(len(pairs))
        return _tested(mean(pairs), error, len(pairs) - 1, f"{len(pairs)} pairs")
    if len(ours) > 1 and len(theirs) > 1:
        gap = mean(ours.values()) - mean(theirs.values())
        parts = [variance(sample.values()) / len(sample) for sample in (ours, theirs)]
        scale = sum(part**2 / (len(sample) - 1) for part, sample in zip(parts, (ours, theirs), strict=True))
        freedom = sum(parts) ** 2 / scale if scale else 0
        return _tested(gap, sqrt(sum(parts)), freedom, f"{len(ours)} and {len(theirs)} runs")
    if common:
        return Difference(ours[common[0]] - theirs[common[0]], None, "1 pair")
    return Difference(mean(ours.values()) - mean(theirs.values()), None, f"{len(ours)} and {len(theirs)} runs")


def _tested(middle: float, error: float, freedom: float, how: str) -> Difference:
    """A difference with a standard error and degrees of freedom."""
    if error <= 1e-12 * max(1, abs(middle)):  # equal differences do not prove that there is no noise
        return Difference(middle, None, how)
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Difference(middle, (middle - reach, middle + reach), how, 2 * float(stdtr(freedom, -abs(middle) / error)))
