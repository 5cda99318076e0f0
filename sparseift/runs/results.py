"""results.json and model.pt2: what is left of a finished run."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.files import replacing
from ..sparsity import Plan


def plan_summary(plan: Plan) -> dict[str, dict[str, Any]]:
    """FLOPs of one sample, forward, and parameters."""
    return {
        "flops": {
            "budget": plan.budget,
            "forward": plan.forward,
            "forward_stored": plan.forward_stored,
            "ratio": plan.ratio,
        },
        "params": {"stored": plan.params_stored, "active": plan.params_active},
    }


def layers_summary(plan: Plan) -> list[dict[str, Any]]:
    """Weights that each layer stores and has active, and its FLOPs of one sample, in order of execution."""
    return [
        {"name": layer.name, "stored": layer.numel, "active": layer.active, "flops": layer.flops}
        for layer in plan.layers
    ]


def versions() -> dict[str, str]:
    packages = ("sparseift", "torch", "torchvision", "pytorch-lightning")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
