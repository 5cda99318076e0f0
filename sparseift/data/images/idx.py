"""The idx format of MNIST and its kin (http://yann.lecun.com/exdb/mnist)."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UserError


def read_idx(path: Path) -> Tensor:
    """The uint8 tensor of an idx file, gzipped (name ends in .gz) or not.

    Layout: two zero bytes, the type (8 for unsigned bytes), the number of dimensions, each dimension as a
    big-endian 32-bit integer, the values with the last dimension fastest.

    Raises:
        UserError: the file is not such a file, or is cut off.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}): get it anew") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise UserError(f"{path} is not an idx file of unsigned bytes: it starts with {content[:4].hex() or 'nothing'}")
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise UserError(f"{path} should have {math.prod(shape)} values, it has {len(content) - header}: get it anew")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)
