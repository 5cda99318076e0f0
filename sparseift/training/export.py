"""Export the trained network, and hash its weights."""

from __future__ import annotations

import hashlib
from inspect import signature
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..common.console import waiting
from ..common.files import replacing
from ..graph.examples import Example, inputs_of


def weights_sha256(net: nn.Module) -> str:
    """Hash of the network's state dict: names, shapes, types and bits, in order."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def export(net: nn.Module, example: Example, path: Path) -> None:
    """Write the network with its weights as a program that `torch.export.load` reads without this package.

    Args:
        example: Inputs of a batch of one sample, whose first dimension is the batch. The program takes any batch size.
    """
    net = net.eval()
    # Two samples: torch.export would specialize the program to a batch of one.
    args, kwargs = tree_map_only(Tensor, lambda tensor: _zeros(tensor, samples=2), inputs_of(example))
    inputs = signature(net.forward).bind(*args, **kwargs).arguments
    shapes = tree_map_only(Tensor, lambda _: {0: torch.export.Dim("batch")}, dict(inputs))
    with waiting(path.name), torch.no_grad():
        program = torch.export.export(net, args, kwargs, dynamic_shapes=shapes)
    with replacing(path, suffix=".partial.pt2") as partial:  # which torch wants at the end
        torch.export.save(program, partial)


def _zeros(tensor: Tensor, samples: int) -> Tensor:
    return torch.zeros(samples, *tensor.shape[1:], dtype=tensor.dtype)
