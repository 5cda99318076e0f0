"""Tokenizers: bytes, byte-level BPE trained on the data, and any that the library `tokenizers` has saved."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ...common import checks
from ...common.files import replacing
from ...common.messages import one_line
from ...errors import UserError
from ..download import download_into, fetched

END_OF_TEXT = "<|endoftext|>"
"""The token after each document, as GPT-2 names it."""

BYTES = 256

TOKENIZER = "tokenizer.json"
FILE = "a tokenizer.json of the library tokenizers"


class Encoder(ABC):
    """Turns text into tokens and back.

    Attributes:
        vocab_size: Number of tokens.
        end: The token after each document.
        end_of_text: What it stands for in text.
    """

    vocab_size: int
    end: int
    end_of_text: str = END_OF_TEXT

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens. Bytes that are not UTF-8 are replaced by U+FFFD."""

    @abstractmethod
    def save(self, folder: Path) -> dict[str, str]:
        """Write the encoder into a folder, and return the arguments of `TextPreprocessing.restored` that read it."""

    @abstractmethod
    def as_library(self) -> Any:
        """Return the same tokens as a `tokenizers.Tokenizer`.

        Raises:
            UserError: The library is not installed.
        """


class Tokenizer(ABC):
    """A choice of tokens, which may have to be read or trained before use."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what the tokens depend on besides the texts.

        Raises:
            UserError: A file is missing.
        """

    @abstractmethod
    def encoder(self, folder: Path, texts: Callable[[], Iterable[str]]) -> Encoder:
        """Return the encoder.

        Args:
            folder: Folder in which a trained tokenizer is kept.
            texts: Returns the training texts.
        """


class ByteEncoder(Encoder):
    """The 256 bytes of UTF-8, and the end of a document."""

    vocab_size = BYTES + 1
    end = BYTES

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        parts: list[bytes] = []
        for token in tokens:
            parts.append(bytes([token]) if token < BYTES else END_OF_TEXT.encode())
        return b"".join(parts).decode(errors="replace")

    def save(self, folder: Path) -> dict[str, str]:
        return {}

    def as_library(self) -> Any:
        """Return byte pair encoding without merges: every byte is a token, with the number of the byte."""
        library = _library()
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2 shows the others by U+0100 and so on
        others = [byte for byte in range(BYTES) if byte not in printable]
        shown = {chr(byte): byte for byte in printable} | {chr(BYTES + i): byte for i, byte in enumerate(others)}
        tokenizer = library.Tokenizer(library.models.BPE(vocab=shown, merges=[]))
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        tokenizer.add_special_tokens([END_OF_TEXT])
        return tokenizer


class Bytes(Tokenizer):
    """One token per byte of UTF-8. Needs no training and no library."""

    def settings(self) -> dict[str, Any]:
        return {"kind": "bytes"}

    def encoder(self, folder: Path, texts: Callable[[], Iterable[str]]) -> Encoder:
        return ByteEncoder()


class LibraryEncoder(Encoder):
    """A tokenizer of the library `tokenizers`.

    Args:
        path: Its tokenizer.json.
        end_of_text: The token after each document.

    Raises:
        UserError: The file is not a tokenizer, or lacks that token.
    """

    def __init__(self, path: Path, end_of_text: str) -> None:
        try:
            self._tokenizer = _library().Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain exceptions
            raise UserError(f"{path} is not a tokenizer.json of the library tokenizers: {one_line(error)}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.vocab_size = self._tokenizer.get_vocab_size()
        end = self._tokenizer.token_to_id(end_of_text)
        checks.require(end is not None, "dataset.tokenizer.end_of_text", end_of_text, f"a token of {path}")
        self.end, self.end_of_text = end, end_of_text

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [found.ids for found in encoded]

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(list(tokens), skip_special_tokens=False)

    def save(self, folder: Path) -> dict[str, str]:
        with replacing(folder / TOKENIZER) as partial:
            partial.write_text(self._tokenizer.to_str(), encoding="utf-8")
        return {"tokenizer": TOKENIZER, "end_of_text": self.end_of_text}

    def as_library(self) -> Any:
        return self._tokenizer


class BPE(Tokenizer):
    """Byte-level byte pair encoding (BPE) as in GPT-2, trained on the training documents.

    Args:
        vocab_size: Number of tokens, with the 256 bytes and the end of a document.
    """

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = checks.integer("dataset.vocab_size", vocab_size, BYTES + 1)

    def settings(self) -> dict[str, Any]:
        return {"kind": "bpe", "vocab_size": self.vocab_size}

    def encoder(self, folder: Path, texts: Callable[[], Iterable[str]]) -> Encoder:
        path = folder / TOKENIZER
        if not path.is_file():
            tokenizer = self._trained(texts())
            with replacing(path) as partial:
                partial.write_text(tokenizer.to_str(), encoding="utf-8")
        return LibraryEncoder(path, END_OF_TEXT)

    def _trained(self, texts: Iterable[str]) -> Any:
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer


class Saved(Tokenizer):
    """A tokenizer.json that the library `tokenizers` has saved, or any tokenizer of Hugging Face.

    Args:
        path: The file.
        end_of_text: The token after each document.
        url: Where to download the file from if it is missing; null for no download.
    """

    def __init__(self, path: str | None, end_of_text: str = END_OF_TEXT, url: str | None = None) -> None:
        checks.require(path is not None, "dataset.tokenizer.path", path, FILE)
        self.path = Path(path or "").expanduser().resolve()
        self.end_of_text, self.url = end_of_text, url

    def settings(self) -> dict[str, Any]:
        if self.url and not self.path.is_file():
            url, path = self.url, self.path
            instead = "put it there, or choose tokenizer=bpe or tokenizer=bytes"
            download_into(path.parent, path.name, lambda: fetched(url, path), instead)
        checks.require(self.path.is_file(), "dataset.tokenizer.path", str(self.path), FILE)
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {"kind": "saved", "sha256": digest, "end_of_text": self.end_of_text}

    def encoder(self, folder: Path, texts: Callable[[], Iterable[str]]) -> Encoder:
        return LibraryEncoder(self.path, self.end_of_text)


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        needed = "which is not installed: pip install 'sparseift[text]'; tokenizer=bytes needs no package"
        raise UserError(f"this tokenizer needs the package tokenizers, {needed}") from error
    return tokenizers
