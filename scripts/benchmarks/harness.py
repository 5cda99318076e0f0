"""The parts of every benchmark: figures, rows and clocks."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import median, quantiles

import torch


@dataclass
class Figure:
    """A measured quantity.

    Args:
        name: name in the table.
        unit: unit of the samples.
        samples: one value per measurement.
        base: name of the figure of the same row that `ratio` is relative to.
        ratio: this figure divided by `base`.
        at_most: upper limit of the ratio, or of the median if there is no ratio.
        at_least: lower limit, likewise.
        faults: minor page faults per measurement.
        note: remark for readers; without samples, the reason why there are none.
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
        """First and third quartile."""
        if len(self.samples) < 2:
            return None
        first, _, third = quantiles(self.samples, n=4, method="inclusive")
        return first, third

    @property
    def met(self) -> bool | None:
        """Whether the limit is met. None without a limit or without samples."""
        value = self.median if self.ratio is None else self.ratio
        if value is None or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def over(self, base: Figure, at_most: float | None = None, at_least: float | None = None) -> Figure:
        """Return a copy with the ratio to `base` and limits for it.

        The ratio is the median of the ratios of paired samples if both figures have equally many samples, else the
        ratio of the medians.
        """
        if not self.samples or not base.samples:
            return self
        if len(self.samples) == len(base.samples):
            ratio = median(own / other for own, other in zip(self.samples, base.samples, strict=True))
        else:
            ratio = self.median / base.median
        return replace(self, base=base.name, ratio=ratio, at_most=at_most, at_least=at_least)


def fastest(figures: Iterable[Figure]) -> Figure:
    return min(figures, key=lambda figure: figure.median or 0)


def processor_time() -> float:
    """Processor seconds of all threads and of all child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


CLOCKS = {"wall": time.perf_counter, "cpu": processor_time}


@dataclass
class Scale:
    """Size, repetitions and clock of a benchmark.

    Args:
        quick: use the smallest sizes that run every line; the times mean nothing.
        clock: 'wall', or 'cpu' for the processor time of all threads, which other programs disturb less.
        device: 'cpu' or 'cuda'; on the latter, phases are timed by its events, whatever the clock.
    """

    quick: bool = False
    clock: str = "wall"
    device: str = "cpu"

    def __call__(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def timed(self, phases: Iterable[Phase], rounds: int, warmup: int = 2, inner: int = 1) -> list[Figure]:
        """Return the milliseconds of each phase.

        The phases take turns, so that other load on the machine affects all of them alike.

        Args:
            phases: the phases to time.
            rounds: samples per phase.
            warmup: rounds that are not recorded.
            inner: repetitions per sample, for phases that are too short for the clock.
        """
        phases = list(phases)
        figures = [Figure(phase.name, "ms", faults=0) for phase in phases]
        for turn in range(-warmup, rounds):
            for phase, figure in zip(phases, figures, strict=True):
                phase.prepare()
                faults = _minor_faults()
                taken = self._seconds(phase, inner)
                if turn >= 0:
                    figure.samples.append(1e3 * taken / inner)
                    figure.faults += (_minor_faults() - faults) / inner / rounds
        return figures

    def _seconds(self, phase: Phase, repetitions: int) -> float:
        """Run a phase, and return the time that it takes until its device is done."""
        if self.device == "cpu":
            now = CLOCKS[self.clock]
            start = now()
            for _ in range(repetitions):
                phase.run()
            return now() - start
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(repetitions):
            phase.run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3


@dataclass
class Row:
    """A benchmark.

    Args:
        name: name on the command line.
        title: one line that says what is measured.
        measure: returns the figures.
        quick: whether --quick runs it by default.
        everywhere: whether it can be measured on an accelerator.
    """

    name: str
    title: str
    measure: Callable[[Scale], Iterable[Figure]]
    quick: bool
    everywhere: bool


ROWS: dict[str, Row] = {}


def row(title: str, quick: bool = True, everywhere: bool = False) -> Callable[[Callable], Callable]:
    """Register a function (Scale) -> figures as a benchmark. See `Row` for the arguments."""

    def mark(measure: Callable[[Scale], Iterable[Figure]]) -> Callable[[Scale], Iterable[Figure]]:
        name = measure.__name__
        if name in ROWS:
            raise ValueError(f"benchmark {name} is defined twice")
        ROWS[name] = Row(name, title, measure, quick, everywhere)
        return measure

    return mark


@dataclass
class Phase:
    """Code to time. `prepare` runs before each sample and is not timed."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def _minor_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
