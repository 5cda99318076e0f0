"""Export the trained network, and hash its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.console import waiting
from ..common.files import replacing


def weights_sha256(net: nn.Module) -> str:
    """Hash of the network's state dict: names, shapes, types and bits, in order."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


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
