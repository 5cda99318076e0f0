"""Exports a trained network: as a state dict, as a program, and as a hash of the weights."""

from __future__ import annotations

import hashlib
from inspect import signature
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.checks import require
from ..common.console import waiting
from ..common.files import replacing
from ..errors import UserError
from ..graph.examples import Example, inputs_of
from ..graph.pytree import tree_map_only
from ..masks.bits import unpack
from ..masks.inplace import mask_in_place
from .checkpoints.codec import mask_state, network_state, read_checkpoint
from .checkpoints.files import BEST, find_checkpoint

FORMATS = (".pt", ".safetensors")


def weights_sha256(net: nn.Module) -> str:
    """Return the SHA-256 hash of the state dict: names, shapes, types and values, in order."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def export_program(net: nn.Module, example: Example, path: Path) -> None:
    """Write the network as a program that `torch.export.load` reads without this package.

    Args:
        example: Inputs of the network, for their shapes and types. The program accepts any batch size.
        path: File to write, with suffix .pt2.
    """
    batch = torch.export.Dim("batch")
    args, kwargs = tree_map_only(
        Tensor, lambda tensor: torch.zeros(2, *tensor.shape[1:], dtype=tensor.dtype), inputs_of(example)
    )  # two samples: torch treats a size of 1 as a constant
    inputs = dict(signature(net.forward).bind(*args, **kwargs).arguments)
    dynamic = tree_map_only(Tensor, lambda _: {0: batch}, inputs)
    with waiting(path.name), torch.no_grad():
        program = torch.export.export(net.eval(), args, kwargs, dynamic_shapes=dynamic)
    content = BytesIO()  # torch would end the process if it met a full disk
    torch.export.save(program, content)
    with replacing(path) as partial:
        partial.write_bytes(content.getbuffer())


def exported_state(run: Path, best: bool) -> tuple[Path, dict[str, Tensor]]:
    """Return the path of a checkpoint, and the state dict of its network, in which masked weights are zero.

    Args:
        run: A run folder or a checkpoint. If the run averages its weights, the state dict has the averages.
        best: Whether to read best.ckpt of the run folder in place of last.ckpt.
    """
    require(run.is_dir() or not best, "RUN", str(run), "a run folder, which --best requires")
    checkpoint = find_checkpoint(run / "checkpoints" / BEST if best else run)
    saved = read_checkpoint(checkpoint)
    # safetensors refuses tensors that share memory.
    state = {name: tensor.clone() for name, tensor in network_state(saved).items()}
    for layer, bits in mask_state(saved).get("masks", {}).items():  # a saved average may be denser than its masks
        weight = state[f"{layer}.weight"]
        mask_in_place(weight, unpack(bits, tuple(weight.shape)))
    if not state:
        raise UserError(f"{checkpoint} holds no network of sparseift.train")
    return checkpoint, state


def export_weights(run: Path, best: bool, out: Path | None) -> str:
    """Write the state dict of the network in a checkpoint (see `exported_state`).

    Args:
        out: File to write, whose suffix selects the format; weights.pt in the run folder by default.

    Returns:
        A message that says what was written.
    """
    out = out or (run if run.is_dir() else run.parent) / "weights.pt"
    require(out.suffix in FORMATS, "--out", str(out), f"a file name that ends in {' or '.join(FORMATS)}")
    require(out.parent.is_dir(), "--out", str(out), "a file in a folder that exists")
    with waiting(out.name):
        checkpoint, state = exported_state(run, best)
        with replacing(out) as partial:
            _write(state, partial, out.suffix)
    return f"{len(state)} tensors of {checkpoint} in {out}"


def _write(state: dict[str, Tensor], path: Path, suffix: str) -> None:
    if suffix == ".safetensors":
        from safetensors.torch import save

        path.write_bytes(save(state, metadata={"format": "pt"}))
    else:
        with path.open("wb") as file:
            torch.save(state, file)
