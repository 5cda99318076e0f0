"""Write checkpoints atomically."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ...common.files import replacing
from ...errors import UserError, first_line
from .codec import packed, unpacked
from .files import LAST, PREVIOUS

ALMOST_NOTHING = 2**20
"""Bytes that may still be free where torch.save fails for want of space, which its error does not say."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a kill or a full disk leaves the old file as it was. The last
    checkpoint but one stays as previous.ckpt. In the file, masked tensors are packed (see `packing`)."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            try:
                with partial.open("wb") as file:
                    torch.save(packed(checkpoint), file)
                    file.flush()
                    os.fsync(file.fileno())
            except (OSError, RuntimeError) as error:  # torch makes a RuntimeError of a full disk
                full = shutil.disk_usage(target.parent).free < ALMOST_NOTHING
                reason = "no space is left on the disk" if full else first_line(error)
                raise UserError(f"{target} can't be written: {reason}; the one before it is whole") from error
            if target.name == LAST and target.exists():
                os.replace(target, target.with_name(PREVIOUS))

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        return unpacked(super().load_checkpoint(path, *arguments, **options))
