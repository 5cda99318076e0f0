"""Checksums of checkpoint files.

torch.save writes a zip archive with a CRC-32 of every record, but torch.load does not check them, and they cover
neither headers nor the directory. A checkpoint therefore ends in a CRC-32 of all its other bytes. It is the comment of
the archive, so torch.load reads the file as before.
"""

from __future__ import annotations

import errno
import os
import re
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO
from zipfile import ZipFile

import torch

from ...common.messages import one_line
from ...errors import Damaged, UserError

TAG = b"sparseift crc32 "
DIGITS = 8
SEAL = len(TAG) + DIGITS
"""Length in bytes of the comment: TAG, and the CRC-32 in hexadecimal digits."""

CHUNK = 2**20
UNREADABLE_CONTENT = (errno.EIO, errno.EINVAL)
"""Errors of a bad sector, and of an archive that refers to an impossible position."""


def save_sealed(content: dict[str, Any], file: BinaryIO) -> None:
    """Write the content with torch.save, and append the checksum.

    Args:
        file: An empty file, open for writing and reading.
    """
    torch.save(content, file)
    file.seek(-2, os.SEEK_END)
    file.write(SEAL.to_bytes(2, "little"))  # an archive without a comment ends in its length, 0
    file.write(TAG)
    file.write(b"%0*x" % (DIGITS, _crc32(file, file.tell())))


def damage(path: Path) -> str | None:
    """Return what is wrong with the bytes of a file that torch.save has written, or None if they are intact.

    A file without the checksum, of version 0.1 or of another program, is checked by the checksums of its records.

    Raises:
        OSError: The file cannot be opened.
    """
    if not path.is_file():  # a FIFO would wait for a writer
        return "it is not a file"
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - SEAL))
            seal = re.fullmatch(re.escape(TAG) + rb"([0-9a-f]{%d})" % DIGITS, file.read())
            if seal:
                return None if _crc32(file, size - DIGITS) == int(seal[1], 16) else "its checksum differs"
            with ZipFile(file) as archive:
                wrong = archive.testzip()
                return f"the checksum of {wrong} differs" if wrong else None
    except OSError as error:
        if error.errno not in UNREADABLE_CONTENT:
            raise
        return one_line(error)
    except Exception as error:  # zipfile raises errors of many types
        return one_line(error)


def load(path: Path, **options: Any) -> dict[str, Any]:
    """Load a file that torch.save has written, after a check of its bytes.

    Args:
        options: Arguments of torch.load. The file is loaded with `weights_only=True`.

    Raises:
        Damaged: The bytes are not those that were written.
        UserError: The file is not a dict of tensors and plain values.
    """
    if reason := damage(path):
        raise Damaged(f"{path} is damaged or not a checkpoint: {reason}")
    try:
        content = torch.load(path, weights_only=True, **options)
    except UnpicklingError as error:  # whose message is advice to load the file without this check
        raise UserError(f"{path} is not a checkpoint: it holds more than tensors and plain values") from error
    except Exception as error:  # torch raises errors of many types
        raise UserError(f"{path} is not a checkpoint: {one_line(error, whole=False)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint: it holds a {type(content).__name__}, not a dict")
    return content


def _crc32(file: BinaryIO, end: int) -> int:
    """The CRC-32 of the bytes before `end`. The position is at `end` afterwards."""
    file.seek(0)
    checksum = 0
    while chunk := file.read(min(CHUNK, end - file.tell())):
        checksum = zlib.crc32(chunk, checksum)
    return checksum
