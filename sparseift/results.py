"""results.json and model.pt2: what is left of a finished run."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .files import replacing
from .sparsity import Plan
from .waiting import waiting


def weights_sha256(net: nn.Module) -> str:
    """Hash of the network's state dict: names, shapes, types and bits, in order."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


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


def export(net: nn.Module, example: Tensor, path: Path) -> None:
    """Write the network with its weights as a program that `torch.export.load` reads without this package.

    example: images (N, C, H, W); the program takes any N.
    """
    net = net.eval()
    batch = torch.export.Dim("batch")
    with waiting(path.name), torch.no_grad():
        program = torch.export.export(net, (example,), dynamic_shapes=({0: batch},))
    with replacing(path, suffix=".partial.pt2") as partial:  # which torch wants at the end
        torch.export.save(program, partial)
