"""Exports the network of a run as a program, or as a folder that `huggingface_hub` uploads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..common.console import waiting
from ..common.files import making
from ..errors import UserError
from ..loading import LoadedRun, load_run
from ..runs.card import card
from ..runs.files import files_of
from ..runs.read import FINISHED, Run, read_run
from ..runs.results import versions, write_json, write_results
from ..runs.settings import within
from ..training.export import export_onnx, export_program, weights_sha256
from ..training.published import write_published
from .profile import as_dict
from .resume import noted_config

OF_THIS_MACHINE = ("dataset.root", "dataset.cache", "init.from", "resume", "overwrite", "export", "sweep", "logger")
"""Options that are not published: folders, and what a run writes where."""

PROGRAMS = {".pt2": export_program, ".onnx": export_onnx}


def export_network(run: Path, best: bool, out: Path) -> str:
    """Write the network of a run as a program.

    Args:
        best: Whether to read best.ckpt, not the weights that the run has tested.
        out: File to write, with suffix .pt2 or .onnx.

    Returns:
        A message that says what was written.
    """
    loaded = load_run(run, "best" if best else None)
    PROGRAMS[out.suffix](loaded.network, loaded.task.example(), out)
    return f"{loaded.weights} weights of {loaded.checkpoint} in {out}"


def export_hub(run: Path, out: Path) -> str:
    """Write the network that a finished run has tested, with its masks, config, plan and a model card.

    Args:
        out: New folder to write.

    Returns:
        A message that says what was written.

    Raises:
        UserError: The run is not finished.
    """
    finished = read_run(run)
    if finished.state != FINISHED:
        raise UserError(f"RUN is {str(run)!r}, which is {finished.state}: {finished.detail}; expected a finished run")
    with waiting(out.name):
        loaded = load_run(run, None)
        with making(out) as folder:
            _write(finished, loaded, folder)
    return f"{loaded.weights} weights of {loaded.checkpoint} in {out}; choose a license in {out / 'README.md'}"


def _write(run: Run, loaded: LoadedRun, folder: Path) -> None:
    config = _config(run.folder)
    content = {
        "library_name": "sparseift",
        "version": versions()["sparseift"],
        "weights": loaded.weights,
        "weights_sha256": weights_sha256(loaded.network),
        "config": config,
    }
    write_published(folder, loaded.network.state_dict(), loaded.masks, content)
    write_json(folder / "plan.json", as_dict(loaded.plan))
    write_results(folder / "results.json", run.results)
    for name in files_of(run.folder, run.results.get("preprocessing")):
        shutil.copy(run.folder / name, folder / name)
    text = card(run.results, run.command, loaded.weights, set(_targets(config)))
    (folder / "README.md").write_text(text, encoding="utf-8")


def _config(run: Path) -> dict[str, Any]:
    """The config of the run with values for interpolations, without the options of this machine."""
    noted = noted_config(run)
    assert noted is not None  # a network has been loaded
    return _published(OmegaConf.to_container(noted, resolve=True))


def _published(node: Any, path: str = "") -> Any:
    if not isinstance(node, dict):
        return node
    keys = {str(name): f"{path}.{name}" if path else str(name) for name in node}
    return {name: _published(node[name], key) for name, key in keys.items() if not within(key, OF_THIS_MACHINE)}


def _targets(config: dict[str, Any]) -> Iterator[str]:
    """The names of the code that `load` calls."""
    for name in ("model", "task", "member", "pattern", "sparsity"):
        yield from _targets_in(config[name])


def _targets_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from _targets_in(value)
