"""Published values of the Sparse-IFT paper for runs with the same settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..runs.read import Run

KEYS = ("dataset", "model", "member", "sparsity", "sparsifier", "pattern")


@dataclass(frozen=True)
class Published:
    """A value of the paper, in the unit of the primary metric.

    Attributes:
        gain: The difference to the dense network of the paper, None if unknown.
    """

    value: float
    gain: float | None


def published(runs: Sequence[Run]) -> Published | None:
    """Return the value of the paper for the settings of the runs, if it has the same network and number of epochs."""
    results = runs[0].results
    settings = {key: results[key] for key in KEYS}
    value = _figure(runs[0].metric.name, settings)
    if value is None or results["distribution"] not in (None, "uniform") or not all(map(_as_in_paper, runs)):
        return None
    dense = {"member": "dense", "sparsity": 0, "sparsifier": "none"}
    base = _figure(runs[0].metric.name, settings | dense)
    return Published(value, None if base is None or settings == settings | dense else value - base)


def _figure(metric: str, settings: dict[str, Any]) -> float | None:
    paper = _paper()
    for figure in paper["figures"]:
        described = paper["assumed"] | {key: value for key, value in figure.items() if value is not None}
        if all(described[key] == value for key, value in {**settings, "metric": metric}.items()):
            return figure["value"]
    return None


def _as_in_paper(run: Run) -> bool:
    theirs = _paper()["runs"].get(run.results["dataset"], {}).get(run.results["model"])
    ours = {"epochs": run.results["epochs"], "budget": run.results["flops"]["budget"]}
    whole = not run.results.get("partial")
    return whole and ours == theirs and not any(map(_changes_network, run.arguments or ()))


def _changes_network(argument: str) -> bool:
    """Whether an override changes the network, even if its FLOPs stay the same."""
    key = argument.lstrip("+~").partition("=")[0]
    return key.startswith("model.") and key != "model.name"


@cache
def _paper() -> dict[str, Any]:
    return json.loads(files("sparseift.report").joinpath("published.json").read_text(encoding="utf-8"))
