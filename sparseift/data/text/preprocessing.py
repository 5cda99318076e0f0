"""What turns text into the input of a trained network, and back. Needs no Lightning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .tokenizers import END_OF_TEXT, ByteEncoder, Encoder, LibraryEncoder


@dataclass(frozen=True)
class TextPreprocessing:
    """Tokenises text as the run did.

    Args:
        encoder: Turns text into tokens and back.
        context_length: Number of tokens that the network reads at a time.
        file: The tokenizer.json of the encoder; None for bytes.
    """

    encoder: Encoder
    context_length: int
    file: Path | None = None

    @classmethod
    def restored(
        cls, folder: Path, context_length: int, tokenizer: str | None = None, end_of_text: str = END_OF_TEXT
    ) -> TextPreprocessing:
        """Return what a data module has described in results.json of a run folder."""
        if tokenizer is None:
            return cls(ByteEncoder(), context_length)
        file = folder / tokenizer
        return cls(LibraryEncoder(file, end_of_text), context_length, file)

    def __call__(self, text: str) -> Tensor:
        """Return the last `context_length` tokens of a text, int64 (1, T). An empty one is the end of a document."""
        (tokens,) = self.encoder.encode([text])
        return torch.tensor([(tokens or [self.encoder.end])[-self.context_length :]])

    def options(self) -> dict[str, Any]:
        """Return the options of a data set that tokenise its text in this way."""
        if self.file is None:
            return {"tokenizer": {"_target_": "sparseift.data.text.Bytes"}}
        end_of_text = self.encoder.end_of_text
        saved = {"_target_": "sparseift.data.text.Saved", "path": str(self.file), "end_of_text": end_of_text}
        return {"tokenizer": saved, "vocab_size": self.encoder.vocab_size}
