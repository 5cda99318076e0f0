"""Exports a trained network: as a state dict, as a program of torch or ONNX, and as a hash of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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


def weights_sha256(net: nn.Module) -> str:
    """Return the SHA-256 hash of the state dict: names, shapes, types and values, in order."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def program_of(net: nn.Module, example: Example) -> torch.export.ExportedProgram:
    """Return the network as a program for any batch size.

    Args:
        example: Inputs of the network, for their shapes and types.
    """
    batch = torch.export.Dim("batch")
    args, kwargs = tree_map_only(
        Tensor, lambda tensor: torch.zeros(2, *tensor.shape[1:], dtype=tensor.dtype), inputs_of(example)
    )  # two samples: torch treats a size of 1 as a constant
    inputs = dict(signature(net.forward).bind(*args, **kwargs).arguments)
    dynamic = tree_map_only(Tensor, lambda _: {0: batch}, inputs)
    with torch.no_grad():
        return torch.export.export(net.eval(), args, kwargs, dynamic_shapes=dynamic)


def export_program(net: nn.Module, example: Example, path: Path) -> None:
    """Write the network as a program that `torch.export.load` reads without this package.

    Args:
        example: See `program_of`.
        path: File to write, with suffix .pt2.
    """
    with waiting(path.name):
        program = program_of(net, example)
    content = BytesIO()  # torch would end the process if it met a full disk
    torch.export.save(program, content)
    with replacing(path) as partial:
        partial.write_bytes(content.getbuffer())


def export_onnx(net: nn.Module, example: Example, path: Path) -> None:
    """Write the network as a program in ONNX.

    Args:
        example: See `program_of`.
        path: File to write, with suffix .onnx.

    Raises:
        UserError: torch's converter is not installed, or does not support the network.
    """
    try:
        import onnxscript  # noqa: F401  # torch.onnx imports it
    except ImportError as error:
        raise UserError("--format onnx needs onnxscript, which is not installed: pip install onnxscript") from error
    with waiting(path.name), replacing(path) as partial:
        program = torch.onnx.export(program_of(net, example), dynamo=True, verbose=False)
        assert program is not None
        program.save(partial)


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


def export_weights(run: Path, best: bool, out: Path) -> str:
    """Write the state dict of the network in a checkpoint (see `exported_state`).

    Args:
        out: File to write, with suffix .pt or .safetensors.

    Returns:
        A message that says what was written.
    """
    with waiting(out.name):
        checkpoint, state = exported_state(run, best)
        if out.suffix == ".safetensors":
            write_tensors(out, state)
        else:
            with replacing(out) as partial, partial.open("wb") as file:
                torch.save(state, file)
    return f"{len(state)} tensors of {checkpoint} in {out}"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a .safetensors file, which tensors that share memory cannot be in."""
    from safetensors.torch import save

    with replacing(path) as partial:
        partial.write_bytes(save(dict(tensors), metadata={"format": "pt"}))
