"""Rows, figures and time: what every benchmark is made of."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import median, quantiles


@dataclass
class Figure:
    """A quantity that was measured, once or several times.

    base: name of the figure of the same row that `ratio` compares it with. at_most, at_least: the bar, for the ratio
    if there is one and else for the median. faults: minor page faults while it was measured, each time. note: what a
    reader has to know; of a figure without samples, why it has none.
    """

    name: str
    unit: str = ""
    samples: list[float] = field(default_factory=list)
    base: str = ""
    ratio: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    faults: float | None = None
    note: str = ""

    @property
    def median(self) -> float | None:
        return median(self.samples) if self.samples else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The first and the third quartile."""
        if len(self.samples) < 2:
            return None
        first, _, third = quantiles(self.samples, n=4, method="inclusive")
        return first, third

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none, or nothing was measured."""
        value = self.median if self.ratio is None else self.ratio
        if value is None or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def over(self, base: Figure, at_most: float | None = None, at_least: float | None = None) -> Figure:
        """The same with its ratio to `base` and a bar: the median of the ratios of samples taken one after the other,
        where both have as many, and else the ratio of the medians."""
        if not self.samples or not base.samples:
            return self
        if len(self.samples) == len(base.samples):
            ratio = median(own / other for own, other in zip(self.samples, base.samples, strict=True))
        else:
            ratio = self.median / base.median
        return replace(self, base=base.name, ratio=ratio, at_most=at_most, at_least=at_least)


def processor_time() -> float:
    """Seconds, of all threads and of the processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


CLOCKS = {"wall": time.perf_counter, "cpu": processor_time}


@dataclass
class Scale:
    """How large, how often and by which clock. quick: as small as makes every line of a row run; its times mean
    nothing. clock: 'wall', or 'cpu' for the time that all threads spend, which other programs disturb less."""

    quick: bool = False
    clock: str = "wall"

    def __call__(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def timed(self, phases: Iterable[Phase], rounds: int, warmup: int = 2, inner: int = 1) -> list[Figure]:
        """Milliseconds of each phase. They take turns, so that what disturbs the machine disturbs all alike. inner:
        runs that make one sample, for phases too short to be timed alone."""
        phases = list(phases)
        figures = [Figure(phase.name, "ms", faults=0) for phase in phases]
        now = CLOCKS[self.clock]
        for turn in range(-warmup, rounds):
            for phase, figure in zip(phases, figures, strict=True):
                phase.prepare()
                faults = _minor_faults()
                start = now()
                for _ in range(inner):
                    phase.run()
                taken = now() - start
                if turn >= 0:
                    figure.samples.append(1e3 * taken / inner)
                    figure.faults += (_minor_faults() - faults) / inner / rounds
        return figures


@dataclass
class Row:
    """name: on the command line. title: says what is measured."""

    name: str
    title: str
    measure: Callable[[Scale], Iterable[Figure]]
    quick: bool


ROWS: dict[str, Row] = {}


def row(title: str, quick: bool = True) -> Callable[[Callable], Callable]:
    """Mark a function (Scale) -> figures as the row of its name. quick: whether --quick has it if no row is named."""

    def mark(measure: Callable[[Scale], Iterable[Figure]]) -> Callable[[Scale], Iterable[Figure]]:
        name = measure.__name__
        if name in ROWS:
            raise ValueError(f"there are two rows called {name}")
        ROWS[name] = Row(name, title, measure, quick)
        return measure

    return mark


@dataclass
class Phase:
    """Something to be timed. prepare: runs before it each time, and is not."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def _minor_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
