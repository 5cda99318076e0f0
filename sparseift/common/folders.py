"""Folders of data with one folder for each label."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError


def count_folders(root: str) -> int:
    """Return the number of folders in root/train, one for each label.

    Raises:
        UserError: There is no such folder.
    """
    folder = Path(root).expanduser().resolve() / "train"
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: dataset.root must hold train and test, each with one folder per class")
    return sum(path.is_dir() for path in folder.iterdir())
