"""Files with a program and its tensors: of masked weights the values inside the masks, and the bits of the masks.

A file is one of safetensors. Its metadata has the program, as JSON, and a checksum of everything.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.files import replacing
from ..common.messages import one_line
from ..common.tensor_files import read_with_metadata
from ..errors import Damaged, UserError
from ..masks.bits import ones, pack, unpack
from .program import Program

SUFFIX = ".safetensors"
FORMAT = "sparseift sparse network"
"""Entry of the metadata, whose value is the version."""

VERSION = 1
VALUES, BITS = ".values", ".mask"
"""Endings of the names of the two tensors of a masked weight."""


@dataclass(frozen=True)
class Packed:
    """A masked tensor without the zeros outside its mask.

    Attributes:
        values: Values inside the mask, in the order of the tensor.
        bits: The mask, packed (see `masks.bits.pack`).
        shape: Shape of the tensor.
    """

    values: Tensor
    bits: Tensor
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor, mask: Tensor) -> Packed:
        """Return a tensor without what is outside its mask."""
        return cls(tensor.flatten()[mask.flatten()], pack(mask), tuple(tensor.shape))

    def mask(self) -> Tensor:
        return unpack(self.bits, self.shape)

    def dense(self) -> Tensor:
        """Return the tensor with zeros outside its mask."""
        return self.values.new_zeros(self.shape).masked_scatter_(self.mask(), self.values)


def write(
    path: Path, program: Program, tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor], about: dict[str, Any]
) -> None:
    """Write a file.

    Args:
        tensors: Tensors of the program by name.
        masks: Boolean masks of some of them.
        about: Plain data for `read`.
    """
    content: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in masks:
            packed = Packed.of(tensor, masks[name])
            content |= {f"{name}{VALUES}": packed.values, f"{name}{BITS}": packed.bits}
        else:
            content[name] = tensor.contiguous()
    shapes = {name: list(tensors[name].shape) for name in masks if name in tensors}
    texts = {"program": program.as_dict(), "masked": shapes, "about": about}
    metadata = {FORMAT: str(VERSION), **{name: json.dumps(text, separators=(",", ":")) for name, text in texts.items()}}
    metadata["crc32"] = _checksum(content, metadata)
    from safetensors.torch import save  # which reading does not need

    with replacing(path) as partial:
        partial.write_bytes(save(content, metadata))


def read(path: Path) -> tuple[Program, dict[str, Tensor | Packed], dict[str, Any]]:
    """Return the program of a file, its tensors, and what `write` was told about it.

    Raises:
        Damaged: The bytes are not those that were written.
        UserError: `write` has not written the file.
    """
    try:
        content, metadata = read_with_metadata(path)
    except Damaged as error:
        reason = one_line(error).removeprefix(f"{path} is damaged: ")
        raise UserError(f"{path} is damaged, or not a file of sparseift.export --format sparse: {reason}") from error
    if FORMAT not in metadata:
        raise UserError(f"{path} is not a file of sparseift.export --format sparse: it has other tensors")
    if metadata.pop("crc32", None) != _checksum(content, metadata):
        raise Damaged(f"{path} is damaged: its checksum differs")
    if metadata[FORMAT] != str(VERSION):
        raise UserError(f"the format of {path} is version {metadata[FORMAT]}; expected {VERSION}")
    try:
        program, shapes, about = (json.loads(metadata[name]) for name in ("program", "masked", "about"))
        tensors: dict[str, Tensor | Packed] = {
            name: _packed(content.pop(f"{name}{VALUES}"), content.pop(f"{name}{BITS}"), tuple(shape))
            for name, shape in shapes.items()
        }
        return Program.from_dict(program), tensors | content, about
    except UserError as error:
        raise UserError(f"{path} cannot be loaded: {error}") from error
    except Exception as error:  # of any content whose checksum is right
        raise UserError(f"{path} cannot be loaded: {type(error).__name__}: {one_line(error)}") from error


def _packed(values: Tensor, bits: Tensor, shape: tuple[int, ...]) -> Packed:
    if values.dim() != 1 or bits.shape != (-(-prod(shape) // 8),) or ones(bits) != len(values):
        raise UserError("a mask does not fit its values")
    return Packed(values, bits, shape)


def _checksum(content: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The CRC-32 of names, types, shapes and values of tensors, and of the other metadata."""
    checksum = zlib.crc32(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(content.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), checksum)
        if tensor.numel():
            checksum = zlib.crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"
