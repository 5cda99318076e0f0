"""Text files of the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .base import TextData
from .files import described, documents_in, files_of


class Text(TextData):
    """Documents in text files or JSON lines, compressed or not (see `files.documents_in`).

    Args:
        files: Names or globs of files.
        separator: Text between two documents of a text file, with \\n for a line break; null if each file is one
            document.
        common: Arguments of `TextData`.
    """

    def __init__(self, *, files: str | Sequence[str] | None, separator: str | None, **common: Any) -> None:
        super().__init__(**common)
        self.files, self.separator = files, separator and separator.replace("\\n", "\n")

    def source(self) -> Any:
        return {"files": described(files_of("dataset.files", self.files)), "separator": self.separator}

    def documents(self) -> Iterator[tuple[str | None, str]]:
        for path in files_of("dataset.files", self.files):
            yield from ((None, text) for text in documents_in(path, self.separator))
