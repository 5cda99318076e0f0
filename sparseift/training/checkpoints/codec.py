"""Lossless encoding of checkpoints: masked tensors are stored without the zeros outside their masks.

Masks are Huffman-coded, since nothing in random bits repeats.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...common.messages import one_line
from ...errors import UserError
from ...masks.bits import pack, unpack
from .integrity import load

NET = "net."
"""Prefix of the network's tensors in the state dict of a checkpoint."""

CURRENT = "current_model_state"
"""Entry with the weights themselves, if the run averages them: `state_dict` then has the averages, as in Lightning."""

MASKED_BY, VALUES, SHAPE, NEGATIVE_ZEROS = "masked_by", "values", "shape", "negative_zeros"
"""Keys of a packed tensor: the layer of its mask, the values inside the mask, the shape, and, if there are any, the
packed mask of the negative zeros outside the mask."""

CODED = "coded"
"""Key of the zlib-coded bytes of a mask."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint and unpack it.

    Raises:
        UserError: The file is damaged or not a checkpoint.
    """
    content = load(path, map_location="cpu")
    try:
        return unpacked(content)
    except Exception as error:  # an intact file with any content
        raise UserError(f"{path} is not a checkpoint of sparseift.train: {one_line(error, whole=False)}") from error


def network_state(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the state dict of the network alone."""
    state = checkpoint.get("state_dict", {})
    return {name.removeprefix(NET): tensor for name, tensor in state.items() if name.startswith(NET)}


def mask_state(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the state of `MaskCallback`, or an empty dict if the run has no masks."""
    return next((state for state in checkpoint.get("callbacks", {}).values() if "masks" in state), {})


def packed(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Pack every tensor of a checkpoint that is zero outside a mask: weights, their averages and optimizer states.

    Equal masks are stored once.
    """
    candidates = _masks_by_shape(checkpoint)
    written: dict[bytes, Any] = {}

    def code_once(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.dtype != torch.uint8 or leaf.dim() != 1:
            return leaf
        content = leaf.cpu().numpy().tobytes()
        if content not in written:
            written[content] = _code(leaf, content)
        return written[content]

    def pack_if_masked(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
            return leaf
        masks = candidates.get(leaf.shape, deque())
        for place, (name, mask) in enumerate(masks):
            if found := _pack(leaf, name, mask):
                masks.rotate(-place - 1)  # the next tensor of this shape is probably of the next layer
                return found
        return leaf

    return {key: _mapped(part, code_once if key == "callbacks" else pack_if_masked) for key, part in checkpoint.items()}


def unpacked(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Invert `packed`."""
    checkpoint = {key: _mapped(part, _decode) if key == "callbacks" else part for key, part in checkpoint.items()}
    masks = mask_state(checkpoint).get("masks", {})

    def unpack_if_packed(leaf: Any) -> Any:
        return _unpack(leaf, masks[leaf[MASKED_BY]]) if _is_packed(leaf) else leaf

    return {key: _mapped(part, unpack_if_packed) for key, part in checkpoint.items()}


def _masks_by_shape(checkpoint: dict[str, Any]) -> dict[torch.Size, deque[tuple[str, Tensor]]]:
    """Names and masks of the layers, without masks of density 1, by shape."""
    found: dict[torch.Size, deque[tuple[str, Tensor]]] = {}
    state = mask_state(checkpoint)
    for name, bits in state.get("masks", {}).items():
        weight = checkpoint["state_dict"][f"{NET}{name}.weight"]
        if state["active"][name] < weight.numel():
            found.setdefault(weight.shape, deque()).append((name, unpack(bits.to(weight.device), weight.shape)))
    return found


def _code(bits: Tensor, content: bytes) -> Any:
    """Huffman-code the bytes if this makes them fewer."""
    coder = zlib.compressobj(level=1, strategy=zlib.Z_HUFFMAN_ONLY)
    coded = bytearray(coder.compress(content) + coder.flush())
    return {CODED: torch.frombuffer(coded, dtype=torch.uint8)} if len(coded) < len(content) else bits


def _decode(leaf: Any) -> Any:
    if not _is_packed(leaf):
        return leaf
    return torch.frombuffer(bytearray(zlib.decompress(leaf[CODED].cpu().numpy())), dtype=torch.uint8)


def _pack(tensor: Tensor, name: str, mask: Tensor) -> dict[str, Any] | None:
    """The packed tensor, or None if the tensor is not zero outside the mask."""
    values = tensor.detach().flatten()[mask.flatten()]  # one-dimensional indices take the least memory
    if tensor.count_nonzero() != values.count_nonzero():
        return None
    content = {MASKED_BY: name, VALUES: values, SHAPE: list(tensor.shape)}
    negative = tensor.signbit()
    if negative.count_nonzero() != values.signbit().count_nonzero():
        content[NEGATIVE_ZEROS] = pack(negative & ~mask)
    return content


def _unpack(content: dict[str, Any], bits: Tensor) -> Tensor:
    values, shape = content[VALUES], tuple(content[SHAPE])
    tensor = torch.zeros(shape, dtype=values.dtype, device=values.device)
    tensor.masked_scatter_(unpack(bits.to(values.device), shape), values)
    if NEGATIVE_ZEROS in content:
        tensor.masked_fill_(unpack(content[NEGATIVE_ZEROS].to(values.device), shape), -0.0)
    return tensor


def _is_packed(content: Any) -> bool:
    return isinstance(content, dict) and (MASKED_BY in content or CODED in content)


def _mapped(content: Any, change: Callable[[Any], Any]) -> Any:
    """A copy with `change` applied to every leaf. A packed tensor is a leaf."""
    if isinstance(content, dict) and not _is_packed(content):
        items: Iterable[tuple[Any, Any]] = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    else:
        return change(content)
    result = copy(content)  # keeps the type and attributes such as the metadata of a state dict
    for key, value in items:
        result[key] = _mapped(value, change)
    return result
