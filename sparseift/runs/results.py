"""results.json and model.pt2: what is left of a finished run."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.files import replacing


def versions() -> dict[str, str]:
    packages = ("sparseift", "torch", "torchvision", "pytorch-lightning")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
