"""Reads .safetensors files with torch alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import Damaged
from .messages import one_line

DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
    **{"BOOL": torch.bool, "C64": torch.complex64, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2},
}
"""Names of types in the header of a file."""

METADATA = "__metadata__"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a .safetensors file, on the CPU.

    The file has 8 bytes with the length of the header, the header in JSON, and the bytes of all tensors
    (https://huggingface.co/docs/safetensors).

    Raises:
        Damaged: The file does not have this format.
    """
    content = memoryview(path.read_bytes())
    end = 8 + int.from_bytes(content[:8], "little")
    try:
        if end > len(content):
            raise ValueError("it is shorter than its header")
        header = json.loads(bytes(content[8:end]))
        return {name: _tensor(entry, content[end:]) for name, entry in header.items() if name != METADATA}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise Damaged(f"{path} is damaged: {one_line(error, whole=False)}") from error


def _tensor(entry: dict[str, Any], data: memoryview) -> Tensor:
    first, last = entry["data_offsets"]
    dtype, shape = DTYPES[entry["dtype"]], entry["shape"]
    if not 0 <= first <= last <= len(data):
        raise ValueError("a tensor is not within the file")
    if first == last:
        return torch.empty(0, dtype=dtype).reshape(shape)
    return torch.frombuffer(bytearray(data[first:last]), dtype=torch.uint8).view(dtype).reshape(shape)
