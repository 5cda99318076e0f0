"""A published network: a folder for Hugging Face's hub, which `sparseift.load` reads with torch alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..common.checks import require
from ..common.tensor_files import read_tensors
from ..errors import Damaged
from ..masks import Masks
from ..masks.bits import pack
from ..runs.files import read_json
from ..runs.results import write_json
from ..runs.weights import WEIGHTS
from .export import write_tensors
from .saved import Saved

MODEL, MASKS, CONFIG = "model.safetensors", "masks.safetensors", "config.json"
"""Files with the state dict of the network, the bits of its masks by layer, and the config of the run."""

ENTRIES = {"config": dict, "weights": str, "weights_sha256": str}
"""Entries of CONFIG: the resolved config of the run, which weights these are, and their hash."""


def is_published(folder: Path) -> bool:
    """Whether a folder is that of a published network."""
    return (folder / MODEL).is_file() and (folder / CONFIG).is_file()


def write_published(folder: Path, state: Mapping[str, Tensor], masks: Masks | None, content: Mapping[str, Any]) -> None:
    """Write the network into a folder.

    Args:
        state: Its state dict.
        content: ENTRIES and others.
    """
    write_tensors(folder / MODEL, {name: tensor.clone() for name, tensor in state.items()})  # tied weights share memory
    if masks:
        write_tensors(folder / MASKS, {name: pack(masks[name]) for name in masks})
    write_json(folder / CONFIG, dict(content))


def read_published(folder: Path, weights: str | None) -> Saved:
    """Read the network in a folder.

    Args:
        weights: Which weights; None for those that there are.

    Raises:
        UserError: A file cannot be read, or the folder has other weights.
    """
    content = read_json(folder / CONFIG)
    for name, kind in ENTRIES.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise Damaged(f"{folder / CONFIG} is damaged: {name} is missing")
    own = content["weights"]
    require(own in WEIGHTS, f"weights in {folder / CONFIG}", own, f"one of {', '.join(WEIGHTS)}")
    require(weights in (None, own), "weights", weights, f"{own}, which are the weights in {folder}")
    bits = read_tensors(folder / MASKS) if (folder / MASKS).exists() else {}
    return Saved(
        file=folder / MODEL,
        weights=own,
        config=content["config"],
        settings={},
        state=read_tensors(folder / MODEL),
        masks={"masks": bits, "active": {}},
        exact=True,
        sha256=content["weights_sha256"],
    )
