"""Writes the tables and figures of the evidence: docs/evidence/tables.md and docs/evidence/*.svg."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import mean

from scipy.stats import spearmanr

from sparseift.report.statistics import Difference, spread
from sparseift.report.style import save

from . import figure
from .grid import RUNS, parts
from .outcomes import Outcomes, adjusted, gain, worth

DRAWN = {
    "wide_0.5_rigl": "Sparse Wide 0.5, RigL",
    "wide_0.75_rigl": "Sparse Wide 0.75, RigL",
    "wide_0.9_rigl": "Sparse Wide 0.9, RigL",
    "wide_0.5_static": "Sparse Wide 0.5, static",
    "wide_0.75_static": "Sparse Wide 0.75, static",
    "wide_0.75_set": "Sparse Wide 0.75, SET",
    "factorized_0.75": "Sparse Factorized 0.75",
    "doped_0.75": "Sparse Doped 0.75",
    "parallel_0.75": "Sparse Parallel 0.75",
    "factorized_0.5": "Sparse Factorized 0.5",
    "doped_0.5": "Sparse Doped 0.5",
    "parallel_0.5": "Sparse Parallel 0.5",
}
"""The rows of the figure of gains."""

MASKS = {"RigL": "rigl", "SET": "set", "static masks": "static"}
"""The rows of the figure of longer training."""

GAP = "masks/ramanujan_gap_iterative", "iterative Ramanujan gap"


def write() -> None:
    """Write the page and the figures beside the runs."""
    found = outcomes()
    save(figure.gains(found[:2], DRAWN), RUNS / "gains")
    save(figure.gains_in_time(found[:2], DRAWN, times()), RUNS / "times")
    if len(found) > 2:
        save(figure.longer(lengths(found[0], found[2]), found[0].score.unit), RUNS / "longer")
    save(figure.spectral(found[0], *GAP), RUNS / "spectral")
    (RUNS / "tables.md").write_text("\n".join(page(found)) + "\n")


def lengths(short: Outcomes, long: Outcomes) -> dict[int, tuple[Outcomes, dict[str, str], str]]:
    """Return what `figure.longer` draws."""
    found = {5: (short, {label: f"wide_0.75_{kind}" for label, kind in MASKS.items()}, "dense")}
    for epochs in (10, 20):
        found[epochs] = long, {label: f"{kind}_{epochs}" for label, kind in MASKS.items()}, f"dense_{epochs}"
    return found


@cache
def times() -> figure.Times:
    """Return the times of training steps that `times.py` has measured."""
    return json.loads((RUNS / "times.json").read_text())["times"]


@cache
def outcomes() -> list[Outcomes]:
    """Return the outcomes of the parts of the grid whose runs are all finished."""
    found = (Outcomes.read(part, RUNS / part.name) for part in parts().values())
    return [one for one in found if one.finished]


def page(found: Sequence[Outcomes]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Evidence: tables"
    yield ""
    yield (
        "`scripts/evidence` writes this page from the results in this folder. Every run has one of "
        f"{len(found[0].part.seeds)} seeds. Differences are paired by seed, with 95 % intervals of the t distribution; "
        "positive is better. Costs are relative to the dense network that was trained as long: FLOPs of a forward "
        "pass, and of the whole training with the dense gradients that RigL reads. *Worth* is the forward cost of a "
        "dense network with the same score, interpolated between the dense networks of the grid. *Time* is that of a "
        "training step relative to the dense network, on one thread, with dense kernels and with `backend=sparse`."
    )
    if missing := parts().keys() - {one.part.name for one in found}:
        yield from ("", f"Not finished yet: {', '.join(sorted(missing))}.")
    for one in found:
        yield from _rows(one)
    for family in ("primary", "secondary"):
        yield from _differences(found, family)
    yield from _spectral(found[0])
    minutes = sum(one.seconds() for one in found) / 60
    yield from ("", f"All runs together took {minutes:.0f} minutes of training, with one thread each.")


def _spectral(one: Outcomes) -> Iterator[str]:
    column, label = GAP
    points = {row: one.gaps(row, column) for row in one.part.rows}
    rank = spearmanr(*zip(*(pair for pairs in points.values() for pair in pairs), strict=True))
    yield from ("", "## Spectral gaps", "")
    yield (
        f"{sum(map(len, points.values()))} runs on Fashion-MNIST with masks: Spearman's rank correlation of the "
        f"{label} of the last masks with test accuracy is {rank.statistic:+.2f} (p: {_p(rank.pvalue)}), over members, "
        "sparsities and sparsifiers. Inside each row:"
    )
    yield from ("", "| row | correlation | p |", "| --- | ---: | ---: |")
    for row, pairs in points.items():
        if len({gap for gap, _ in pairs}) > 2:
            inside = spearmanr(*zip(*pairs, strict=True))
            yield f"| {row} | {inside.statistic:+.2f} | {_p(inside.pvalue)} |"


def _rows(one: Outcomes) -> Iterator[str]:
    yield from ("", f"## {one.part.title}", "")
    unit, digits = one.score.unit, one.score.decimals
    timed = times().get(one.part.name)
    columns = ["row", "seeds", one.score.label, f"gain over dense [{unit}]", "FLOPs", "training FLOPs"]
    columns += ["worth"] if one.part.yardsticks else []
    columns += ["time, masked", "time, sparse"] if timed else []
    yield f"| {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * (len(columns) - 1)}"
    for row in one.part.rows:
        scores = [abs(value) for value in one.scores(row).values()]
        dense = one.baseline(row)
        over = _gain(gain(one, row, dense), digits) if row != dense else ""
        sparse = all(run.results["sparsity"] for run in one.runs[row].values())
        equal = worth(one, row) if one.part.yardsticks and sparse else None
        cells = [
            row,
            len(one.runs[row]),
            f"{mean(scores):.{digits}f} ± {spread(scores):.{digits}f}",
            over,
            f"{one.cost(row):.4f}",
            f"{one.cost(row, 'train_total'):.4f}",
        ]
        cells += [f"{equal:.2f}x" if equal else ""] if one.part.yardsticks else []
        cells += [_time(timed[row].get(backend)) for backend in ("masked", "sparse")] if timed else []
        yield f"| {' | '.join(map(str, cells))} |"


def _differences(found: Sequence[Outcomes], family: str) -> Iterator[str]:
    gains = adjusted(found, family)
    yield from ("", f"## {family.capitalize()} differences", "")
    yield f"Holm's method corrects the p-values of these {len(gains)} differences."
    yield from ("", "| data | difference | mean [95 % interval] | p | Holm's p |", "| --- | --- | ---: | ---: | ---: |")
    by_name = {one.part.name: one for one in found}
    for (name, ours, theirs), (one, corrected) in gains.items():
        score = by_name[name].score
        text = _gain(one, score.decimals)
        strong = f"**{text}**" if corrected < 0.05 else text
        yield f"| {name} | {ours} - {theirs} | {strong} {score.unit} | {_p(one.p)} | {_p(corrected)} |"


def _time(quartiles: list[float] | None) -> str:
    return f"{quartiles[0]:.2f}" if quartiles else ""


def _gain(one: Difference, digits: int) -> str:
    bounds = ", ".join(f"{bound:+.{digits}f}" for bound in one.interval or ())
    return f"{one.mean:+.{digits}f} [{bounds}]"


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value >= 1e-4 else "< 0.0001"


if __name__ == "__main__":
    write()
