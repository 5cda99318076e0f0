"""Whole runs of sparseift.train: resumed, on all devices, and the quick start."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from .check import LeftOut, Outcome, Setting, check

COMMON = (
    *("dataset=digits", "model.base_width=8", "recipe.epochs=4", "sparsifier.update_interval=3"),
    *("logger=none", "export=false", "trainer.deterministic=true", "checkpoint.every_n_steps=2", "resume=auto"),
)
DETERMINISTIC = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""With which cuBLAS gives the same bits in every run."""

LOSSES = 0.02
"""Maximum difference of losses, as a fraction. Rounding errors grow with every step."""

PATIENCE = 600.0
"""Seconds to wait for a run."""


@check("a run that is stopped and resumed has the bits of one that is not, in deterministic mode")
def resume(setting: Setting) -> Outcome:
    options = (*COMMON, "dataset.batch_size=64", *one_device(setting), "sparsifier=set")
    whole = trained(setting, "whole", *options)
    folder = emptied(setting, "resumed")
    with started(folder, *options) as run:
        deadline = time.monotonic() + PATIENCE
        while run.poll() is None and time.monotonic() < deadline and not (folder / "checkpoints/last.ckpt").exists():
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        code = run.wait(PATIENCE)
    resumed = trained(setting, "resumed", *options, keep=True)
    same = {key: whole[key] == resumed[key] for key in ("weights_sha256", "masks_sha256")}
    return Outcome(all(same.values()), {**same, "stopped with exit code": code, "steps": whole["steps"]})


@check("ranks on all devices train as one device with accumulated batches, also with active gradients, or sharded")
def ranks(setting: Setting) -> Outcome:
    count = torch.cuda.device_count() if setting.device == "cuda" else 2
    if count < 2:
        raise LeftOut("several ranks need several GPUs")
    devices = (f"trainer.accelerator={accelerator(setting)}", f"trainer.devices={count}")
    on_all = ("trainer=ddp", *devices)
    options = (*COMMON, f"dataset.batch_size={128 // count}", "dataset.val_size=158")  # 1,280 images: whole batches
    options += ("+recipe.optimizer.fused=false",)  # torch has no fused step of SGD for sharded weights
    both = trained(setting, "ranks", *options, *on_all)
    active = trained(setting, "ranks_active", *options, *on_all, "trainer.send_active_gradients=true")
    sharded = trained(setting, "ranks_sharded", *options, "trainer=fsdp", *devices)
    accumulated = (*one_device(setting), f"trainer.accumulate_grad_batches={count}")
    one = trained(setting, "one", *options, *accumulated)
    found: dict[str, Any] = {"devices": count}
    found["steps"] = {"ranks": both["steps"], "sharded": sharded["steps"], "one": one["steps"]}
    # Not that of validation: the statistics of batch norms are those of a rank, or of all batches.
    losses = {name: training_loss(setting.folder / "runs" / name) for name in ("ranks", "ranks_sharded", "one")}
    found["training loss of the last epoch"] = losses
    found["masks equal"] = both["masks_sha256"] == one["masks_sha256"]
    found["masks of sharded weights equal"] = both["masks_sha256"] == sharded["masks_sha256"]
    found["active gradients give the same bits"] = both["weights_sha256"] == active["weights_sha256"]
    near = all(abs(loss - losses["one"]) <= LOSSES * losses["one"] for loss in losses.values())
    same = found["active gradients give the same bits"] or count > 2  # sums of more terms depend on their order
    return Outcome(len(set(found["steps"].values())) == 1 and near and same, found)


@check("the quick start")
def quick_start(setting: Setting) -> Outcome:
    options = ("dataset=digits", "model.base_width=8", f"recipe.epochs={setting(15, 2)}", *one_device(setting))
    dense = trained(setting, "dense", *options, "member=dense", "logger=none")
    interval = "sparsifier.update_interval=20"
    wide = trained(setting, "sparse_wide", *options, "member=sparse_wide", "sparsity=0.75", interval, "logger=none")
    found = {
        name: {**run["test"], "seconds": run["seconds"], "mask updates": run["mask_updates"]}
        for name, run in (("dense", dense), ("sparse_wide", wide))
    }
    return Outcome(wide["flops"]["ratio"] < 1.01, {**found, "FLOPs of sparse_wide": wide["flops"]["ratio"]})


def training_loss(folder: Path) -> float:
    """Return the training loss of the last epoch of a run."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss_epoch"]) for row in csv.DictReader(file) if row["train/loss_epoch"]][-1]


def accelerator(setting: Setting) -> str:
    return "gpu" if setting.device == "cuda" else "cpu"


def one_device(setting: Setting) -> tuple[str, ...]:
    return (f"trainer.accelerator={accelerator(setting)}", "trainer.devices=1")


def emptied(setting: Setting, name: str) -> Path:
    folder = setting.folder / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def trained(setting: Setting, name: str, *overrides: str, keep: bool = False) -> dict[str, Any]:
    """Train a run, and return its results.

    Args:
        keep: Whether to go on with what is in the folder of the run.
    """
    folder = setting.folder / "runs" / name if keep else emptied(setting, name)
    with started(folder, *overrides) as run:
        _, told = run.communicate(timeout=PATIENCE)
    if run.returncode:
        raise RuntimeError(f"exit code {run.returncode} of {name}: {told.strip().splitlines()[-1]}")
    return json.loads((folder / "results.json").read_text())


def started(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sparseift.train", *overrides, f"hydra.run.dir={folder}"]
    environment = {**os.environ, **DETERMINISTIC}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
