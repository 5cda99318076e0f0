"""Exports a run as a compact file, with the active weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..common.checks import require
from ..common.console import waiting
from ..inference import SUFFIX, capture, write
from ..loading import load_run, own
from ..runs.files import files_of, present
from ..runs.results import read_results
from .resume import noted_config

NAME = f"sparse{SUFFIX}"


def export_compact(run: Path, best: bool, out: Path | None) -> str:
    """Write the network of a run as a compact file (see `inference.write`).

    Args:
        run: A run folder.
        best: Whether to read best.ckpt, not the weights that the run has tested.
        out: File to write; sparse.safetensors in the run folder by default.

    Returns:
        A message that says what was written.

    Raises:
        UserError: The run has no network, or torch.export cannot export it.
    """
    config = noted_config(run) if run.is_dir() else None
    require(config is not None, "RUN", str(run), "a run folder, which --format sparse requires")
    assert config is not None
    out = out or run / NAME
    require(out.suffix == SUFFIX, "--out", str(out), f"a file name that ends in {SUFFIX}")
    require(out.parent.is_dir(), "--out", str(out), "a file in a folder that exists")
    with waiting(out.name):
        loaded = load_run(run, "best" if best else None)
        masked = {f"{name}.weight": loaded.masks[name] for name in loaded.masks} if loaded.masks else {}
        program, tensors = capture(loaded.network, loaded.task.example(), masked)
        about = {
            "checkpoint": loaded.checkpoint.name,
            "weights": loaded.weights,
            "masks_sha256": loaded.masks.sha256() if loaded.masks else None,
            **_described(config, run),
        }
        write(out, program, tensors, masked, about)
    active = sum(int(mask.sum()) for mask in masked.values())
    total = sum(mask.numel() for mask in masked.values())
    return f"{active:,} of {total:,} masked weights of {loaded.checkpoint} in {out}"


def _described(config: DictConfig, run: Path) -> dict[str, Any]:
    """Task and preprocessing of the run if they are of this package, and the text of the files that they read."""
    task: Any = OmegaConf.to_container(config.task, resolve=True)
    plain: Any = OmegaConf.to_container(config.task)
    results = run / "results.json"
    preprocessing = read_results(results).get("preprocessing") if present(results) else None
    return {
        "task": task if own(task["_target_"]) else None,
        "of_data": [name for name, value in plain.items() if value == f"${{dataset.{name}}}"],
        "preprocessing": preprocessing if preprocessing and own(preprocessing["_target_"]) else None,
        "files": {name: (run / name).read_text(encoding="utf-8") for name in files_of(run, preprocessing)},
    }
