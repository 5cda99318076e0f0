"""Run folders written by hand, with numbers that are known, as sparseift.train leaves them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import yaml

from sparseift.runs.metric import Metric

EPOCHS, STEPS_AN_EPOCH = 4, 10
LAYERS = [
    {"name": "conv1", "stored": 100, "active": 100, "flops": 2000},
    {"name": "layer1.0.conv1", "stored": 400, "active": 100, "flops": 3000},
    {"name": "fc", "stored": 50, "active": 50, "flops": 100},
]


MAE = Metric("mae", "mean absolute error", "m", higher_is_better=False)


def results_of(member: str, accuracy: float, seed: int, sparsity: float, sparsifier: str) -> dict[str, Any]:
    """results.json of a run as version 1 writes it. accuracy: test top-1, a fraction."""
    masked = sparsifier != "none"
    return {
        "model": "resnet18_cifar",
        "member": member,
        "sparsity": sparsity,
        "distribution": "uniform" if masked else None,
        "sparsifier": sparsifier,
        "dataset": "digits",
        "seed": seed,
        "test": {"loss": 0.5, "acc1": accuracy, "acc5": 0.99},
        "val": {"loss": 0.5, "acc1": accuracy, "acc5": 0.99},
        "flops": {"budget": 5100, "forward": 5100, "forward_stored": 15000, "ratio": 1.0, "train_total": 61_000_000},
        "params": {"stored": 550 if masked else 250, "active": 250},
        "epochs": EPOCHS,
        "steps": EPOCHS * STEPS_AN_EPOCH,
        "seconds": 1.5,
        "masks_sha256": "0" * 64 if masked else None,
        "weights_sha256": "1" * 64,
        "versions": {"sparseift": "0.1.0"},
        "layers": LAYERS if masked else [{**layer, "active": layer["stored"]} for layer in LAYERS],
    }


def config_of(results: dict[str, Any]) -> dict[str, Any]:
    return {
        "seed": results["seed"],
        "model": {"_target_": "sparseift.models.resnet18_cifar", "base_width": 8},
        "recipe": {"epochs": EPOCHS, "optimizer": {"lr": 0.1}},
        "dataset": {"batch_size": 64, "seed": "${seed}", "num_workers": 0},
        "trainer": {"accelerator": "cpu", "devices": 1},
        "checkpoint": {"every_n_steps": None, "test": "last"},
        "member": {"_target_": f"sparseift.members.{results['member']}"},
        "sparsity": {"level": results["sparsity"] or 0.75, "include": []},
        "sparsifier": {"_target_": results["sparsifier"]},
    }


def judged_by(metric: Metric, value: float) -> dict[str, Any]:
    """The entries of results.json of version 2 that tell of another task than classification."""
    scores = {"loss": 0.5, metric.name: value}
    named = {"task": "regression", "pattern": "unstructured", "backend": "masked", "metrics": [metric.as_dict()]}
    return {"version": 2, **named, "test": scores, "val": scores}


def metrics_of(results: dict[str, Any], epochs: int = EPOCHS, **columns: float) -> list[dict[str, float]]:
    """Rows of metrics.csv up to the end of an epoch. columns: more of them, logged once an epoch."""
    rows: list[dict[str, float]] = []
    name = results["metrics"][0]["name"] if "metrics" in results else "acc1"
    for epoch in range(epochs):
        step = STEPS_AN_EPOCH * (epoch + 1) - 1
        done = (epoch + 1) / EPOCHS
        rows += [
            {"step": step, "epoch": epoch, "train/loss": 1 - done / 2, **columns},
            {"step": step, "epoch": epoch, f"val/{name}": results["val"][name] * done},
            {"step": step, "train/flops": results["flops"]["train_total"] * done},
            {"step": step, "epoch": epoch, "train/loss_epoch": 0.5, f"train/{name}": results["val"][name] * done},
        ]
    return rows


def write_metrics(folder: Path, rows: list[dict[str, float]]) -> None:
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *sorted({key for row in rows for key in row} - {"step"})])
        writer.writeheader()
        writer.writerows(rows)


def write_run(
    folder: Path,
    member: str = "dense",
    accuracy: float = 0.9,
    seed: int = 0,
    *,
    sparsity: float = 0.0,
    sparsifier: str = "none",
    change: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    overrides: tuple[str, ...] = (),
    columns: dict[str, float] | None = None,
    finished: bool = True,
    epochs: int = EPOCHS,
) -> Path:
    """A run folder. change: entries of results.json; config: nodes of the config; overrides: typed after the names;
    columns: more of metrics.csv; epochs: for which there are metrics."""
    results = results_of(member, accuracy, seed, sparsity, sparsifier) | (change or {})
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra/config.yaml").write_text(yaml.safe_dump(config_of(results) | (config or {})))
    names = [f"member={member}", f"dataset={results['dataset']}", f"seed={seed}"]
    if sparsity:
        names += [f"sparsity.level={sparsity:g}", f"sparsifier={sparsifier}"]
    (folder / ".hydra/overrides.yaml").write_text(yaml.safe_dump([*names, *overrides]))
    if epochs:
        write_metrics(folder, metrics_of(results, epochs, **(columns or {})))
    if finished:
        (folder / "results.json").write_text(json.dumps(results))
    return folder
