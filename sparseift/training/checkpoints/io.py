"""Atomic writes of checkpoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from ...common.files import replacing
from ...common.messages import one_line
from ...errors import UserError
from .codec import packed, read_checkpoint
from .files import LAST, PREVIOUS
from .integrity import save_sealed


class AtomicCheckpointIO(TorchCheckpointIO):
    """Packs checkpoints (see `codec`), adds a checksum (see `integrity`), and replaces files atomically. The former
    last.ckpt stays as previous.ckpt.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            try:
                with partial.open("w+b") as file:
                    save_sealed(packed(checkpoint), file)
                    file.flush()
                    os.fsync(file.fileno())
            except (OSError, RuntimeError) as error:
                cause = error.__context__ if isinstance(error.__context__, OSError) else error  # torch replaces it
                reason = getattr(cause, "strerror", None) or one_line(cause, whole=False)
                raise UserError(f"{target} can't be written: {reason}; the previous checkpoint is intact") from error
            if target.name == LAST and target.exists():
                os.replace(target, target.with_name(PREVIOUS))

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Load a checkpoint to the CPU, as Lightning does by default."""
        return read_checkpoint(Path(path))
