"""Tokenised text in memory-mapped files, with its settings and checksums beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...common.console import one_by_one
from ...common.files import replacing
from ...errors import Damaged, UserError
from .tokenizers import Encoder

DESCRIPTION = "tokens.json"
"""The file that describes the others. It is written last: without it, the files are not complete."""

SPLITS = ("train", "val", "test")

CHARACTERS = 2**22
"""Characters that are tokenised at a time."""

CHUNK = 2**24
"""Bytes that are hashed at a time."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a split.

    Args:
        path: File of the tokens, in order, in the byte order of little-endian machines.
        dtype: "uint16" or "uint32".
        documents: Number of documents. Each ends with the token of the end of a document.
        tokens: Number of tokens.
        bytes: Bytes of the documents in UTF-8.
        sha256: Hash of the file.
    """

    path: Path
    dtype: str
    documents: int
    tokens: int
    bytes: int
    sha256: str

    def mapped(self) -> np.ndarray:
        """Return the tokens as a memory-mapped array of shape (tokens,)."""
        if not self.tokens:  # an empty file cannot be mapped
            return np.empty(0, self.dtype)
        return np.memmap(self.path, np.dtype(self.dtype).newbyteorder("<"), mode="r", shape=(self.tokens,))


def dtype_for(vocab_size: int) -> str:
    """Return the smallest type that holds every token."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def write_tokens(
    folder: Path,
    settings: Mapping[str, Any],
    documents: Iterable[tuple[str, str]],
    encoder: Encoder,
) -> None:
    """Tokenise documents into a folder.

    Args:
        settings: What the tokens depend on, for the description.
        documents: Pairs of a split and a text.
    """
    dtype = dtype_for(encoder.vocab_size)
    writers = {split: _Writer(folder / f"{split}.partial", dtype, encoder) for split in SPLITS}
    for split, text in one_by_one(documents, "tokenise"):
        writers[split].add(text)
    found = {split: writer.finished(folder / f"{split}.bin") for split, writer in writers.items()}
    splits = {
        split: {name: value for name, value in asdict(tokens).items() if name not in ("path", "dtype")}
        for split, tokens in found.items()
    }
    content = {"settings": settings, "dtype": dtype, "vocab_size": encoder.vocab_size, "splits": splits}
    with replacing(folder / DESCRIPTION) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[str, Tokens] | None:
    """Return the tokens of each split; None if the folder has none.

    Args:
        settings: What the tokens must have been made with.

    Raises:
        UserError: The tokens have been made with other settings.
        Damaged: A file does not have its checksum.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        _require_same(folder, content["settings"], json.loads(json.dumps(settings)))
        found = {
            split: Tokens(folder / f"{split}.bin", content["dtype"], **content["splits"][split]) for split in SPLITS
        }
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    for tokens in found.values():
        if not tokens.path.is_file() or sha256_of(tokens.path) != tokens.sha256:
            raise _damaged(tokens.path)
    return found


def _require_same(folder: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name in [*wanted, *saved]:
        if wanted.get(name) != saved.get(name):
            now, then = (shown if len(shown := str(of.get(name))) < 80 else "other files" for of in (wanted, saved))
            raise UserError(
                f"dataset.cache is {folder}, which was tokenised with {name}={then}, but this run has {now}; expected "
                "another folder, or the same settings"
            )


def sha256_of(path: Path) -> str:
    """Return the hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _damaged(path: Path) -> Damaged:
    return Damaged(f"{path} is damaged; delete its folder, and the text is tokenised again")


class _Writer:
    """Appends the tokens of documents to a file."""

    def __init__(self, path: Path, dtype: str, encoder: Encoder) -> None:
        self.path, self.dtype, self.encoder = path, dtype, encoder
        self.documents = self.tokens = self.bytes = self._characters = 0
        self._waiting: list[str] = []
        self._digest = hashlib.sha256()
        path.unlink(missing_ok=True)
        path.touch()

    def add(self, text: str) -> None:
        self._waiting.append(text)
        self._characters += len(text)
        if self._characters >= CHARACTERS:
            self._flush()

    def finished(self, path: Path) -> Tokens:
        """Write what is left, and give the file its name."""
        self._flush()
        self.path.replace(path)
        return Tokens(path, self.dtype, self.documents, self.tokens, self.bytes, self._digest.hexdigest())

    def _flush(self) -> None:
        texts, self._waiting, self._characters = self._waiting, [], 0
        if not texts:
            return
        encoded = [[*tokens, self.encoder.end] for tokens in self.encoder.encode(texts)]
        content = np.concatenate([np.asarray(tokens, self.dtype) for tokens in encoded])
        raw = content.astype(content.dtype.newbyteorder("<"), copy=False).tobytes()
        self._digest.update(raw)
        with self.path.open("ab") as file:
            file.write(raw)
        self.documents += len(texts)
        self.tokens += len(content)
        self.bytes += sum(len(text.encode()) for text in texts)
