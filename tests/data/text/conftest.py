"""Data modules of short texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparseift.data.text.text import Text
from sparseift.data.text.tokenizers import Bytes


@pytest.fixture
def text_data(tmp_path: Path) -> Callable[..., Text]:
    def make(**changes: Any) -> Text:
        options = {
            "files": str(tmp_path / "*.txt"),
            "separator": "\n",
            "tokenizer": Bytes(),
            "vocab_size": 257,
            "context_length": 8,
            "val_fraction": 0.2,
            "test_fraction": 0.2,
            "cache": str(tmp_path / "tokens"),
            "batch_size": 2,
            "num_workers": 0,
            "seed": 0,
            "split_seed": 0,
        }
        return Text(**{**options, **changes})

    return make


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    """200 documents in two files, one per line."""
    found = [f"document {number} says {number * 7919 % 1000}" for number in range(200)]
    (tmp_path / "a.txt").write_text("\n".join(found[:120]))
    (tmp_path / "b.txt").write_text("\n".join(found[120:]))
    return found
