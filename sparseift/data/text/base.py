"""The base of data modules of text."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...common import checks
from ...common.console import waiting
from ...common.locks import locked
from ...errors import UserError
from ..base import DataModule
from .cache import DESCRIPTION, SPLITS, Tokens, read_tokens, write_tokens
from .tokenizers import Encoder, Tokenizer
from .windows import Windows

FORMAT = 1
"""Version of the tokenised files."""

HASHED = 8
"""Bytes of the hash of a document that choose its split."""


class TextData(DataModule):
    """Documents as windows of tokens.

    A document belongs to the split that its hash chooses, unless the data has splits of its own. Equal documents are
    thus in the same split. Documents are tokenised once, into memory-mapped files in a folder of `cache`. Training
    windows come in an order that depends on (seed, epoch).

    A subclass defines `source` and `documents`.

    Args:
        tokenizer: The tokenizer.
        vocab_size: Number of tokens, which must match the tokenizer.
        context_length: Number of tokens that the network reads at a time.
        val_fraction: Fraction of the documents for validation, in [0, 1).
        test_fraction: Fraction of the documents for the test, in (0, 1); None if the data has splits of its own.
        cache: Folder of tokenised text, in which each choice of settings has its own folder; or such a folder.
        common: Arguments of `DataModule`. `split_seed` also seeds the hash that chooses splits.
    """

    def __init__(
        self,
        *,
        tokenizer: Tokenizer,
        vocab_size: int,
        context_length: int,
        val_fraction: float,
        test_fraction: float | None,
        cache: str,
        **common: Any,
    ) -> None:
        super().__init__(val_size=0, **common)
        self.tokenizer = tokenizer
        checks.require(isinstance(tokenizer, Tokenizer), "dataset.tokenizer", tokenizer, "a tokenizer")
        self.vocab_size = checks.integer("dataset.vocab_size", vocab_size, 1)
        self.context_length = checks.integer("dataset.context_length", context_length, 1)
        self.val_fraction = checks.number("dataset.val_fraction", val_fraction, 0, 1, open_at=")")
        self.test_fraction = test_fraction
        if test_fraction is not None:
            checks.number("dataset.test_fraction", test_fraction, 0, 1, open_at="()")
            total = val_fraction + test_fraction
            checks.require(total < 1, "dataset.val_fraction + dataset.test_fraction", total, "a number < 1")
        self.cache = Path(cache).expanduser().resolve()

    @abstractmethod
    def source(self) -> Any:
        """Return what identifies the documents, as plain data, without reading them.

        Raises:
            UserError: They are missing.
        """

    @abstractmethod
    def documents(self) -> Iterator[tuple[str | None, str]]:
        """Yield each document: its split ("train", "val" or "test"; None to choose it by the hash) and its text."""

    def prepare_data(self) -> None:
        """Tokenise the documents, unless they are in the cache.

        Raises:
            UserError: The documents or the tokenizer are missing, do not match the config, or have no text.
        """
        _ = self._prepared

    @property
    def encoder(self) -> Encoder:
        """The encoder of the tokens, after `prepare_data`."""
        return self._prepared[1]

    def preprocessing(self, folder: Path) -> dict[str, Any]:
        target = "sparseift.data.text.preprocessing.TextPreprocessing"
        return {"_target_": target, "context_length": self.context_length, **self.encoder.save(folder)}

    @cached_property
    def sha256(self) -> str:
        """Hash of the tokens of all splits, after `prepare_data`."""
        hashes = [self._prepared[0][split].sha256 for split in SPLITS]
        return hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    def load(self, train: bool) -> Windows:
        splits = ("train", "val") if train else ("test",)
        return Windows([self._prepared[0][split] for split in splits], self.context_length)

    def check(self, samples: Windows, train: bool) -> None:
        least = self.context_length + 1
        expected = f"at least {least}, which one sample of dataset.context_length={self.context_length} needs"
        for split, tokens in zip(("train", "val") if train else ("test",), samples.splits, strict=True):
            unused = split == "val" and not tokens.tokens and not self.val_fraction
            checks.require(tokens.tokens >= least or unused, f"the number of {split} tokens", tokens.tokens, expected)

    def split(self, samples: Windows) -> tuple[Tensor, Tensor]:
        return torch.arange(samples.counts[0]), torch.arange(samples.counts[0], len(samples))

    def state_dict(self) -> dict[str, Any]:
        position = super().state_dict()
        return {**position, "data": self.sha256} if position else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        saved = state_dict.pop("data", self.sha256) if (state_dict := dict(state_dict)) else self.sha256
        if saved != self.sha256:
            raise UserError(f"the checkpoint has tokens with SHA-256 {saved[:12]}, but this run has {self.sha256[:12]}")
        super().load_state_dict(state_dict)

    @cached_property
    def _prepared(self) -> tuple[dict[str, Tokens], Encoder]:
        """The tokens of each split, and the encoder."""
        settings = self._settings()
        folder = self._folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            encoder = None
            with waiting("tokenised text"):
                found = read_tokens(folder, settings)
            if found is None:
                encoder = self._encoder(folder)
                write_tokens(folder, settings, self._split_documents(), encoder)
                found = read_tokens(folder, settings)
            assert found
        if not any(tokens.documents for tokens in found.values()):
            raise UserError(f"{self._name} has no documents with text")
        return found, encoder or self._encoder(folder)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _settings(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "dataset": self._name,
            "source": self.source(),
            "val_fraction": self.val_fraction,
            "test_fraction": self.test_fraction,
            "split_seed": self.split_seed,
            "tokenizer": self.tokenizer.settings(),
        }

    def _folder(self, settings: dict[str, Any]) -> Path:
        """The folder of these settings in the cache, or the cache itself if it is such a folder."""
        if (self.cache / DESCRIPTION).is_file():
            return self.cache
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        return self.cache / f"{self._name}-{digest[:12]}"

    def _encoder(self, folder: Path) -> Encoder:
        encoder = self.tokenizer.encoder(folder, self._training_texts)
        expected = f"{encoder.vocab_size}, the number of tokens of the tokenizer"
        checks.require(encoder.vocab_size == self.vocab_size, "dataset.vocab_size", self.vocab_size, expected)
        return encoder

    def _training_texts(self) -> Iterator[str]:
        return (text for split, text in self._split_documents() if split == "train")

    def _split_documents(self) -> Iterator[tuple[str, str]]:
        for split, text in self.documents():
            if text.strip():
                yield split or self._split_of(text), text

    def _split_of(self, text: str) -> str:
        assert self.test_fraction is not None
        key = self.split_seed.to_bytes(8, "big")
        digest = hashlib.blake2b(text.encode(), key=key, digest_size=HASHED).digest()
        place = int.from_bytes(digest, "big") / 2 ** (8 * HASHED)
        if place < self.test_fraction:
            return "test"
        return "val" if place < self.test_fraction + self.val_fraction else "train"
