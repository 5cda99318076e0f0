"""Windows of tokens: the samples of language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .cache import Tokens

Sample = dict[str, Tensor | int]


class Windows(Dataset):
    """The tokens of some splits in windows of `context_length` inputs, one after the other.

    A window has one token more than inputs, which is the first input of the next window: each token but the first is
    predicted once. The tokens after the last whole window are left out.

    A sample has `tokens`, int64 of shape (context_length + 1,), and the number of tokens and of bytes of its split, as
    `split_tokens` and `split_bytes`.

    Args:
        splits: The tokens of each split.
        context_length: Number of inputs.
    """

    def __init__(self, splits: Sequence[Tokens], context_length: int) -> None:
        self.splits, self.context_length = list(splits), context_length
        self.counts = [max(0, tokens.tokens - 1) // context_length for tokens in self.splits]

    def __len__(self) -> int:
        return sum(self.counts)

    def __getitem__(self, index: int) -> Sample:
        split = 0
        while index >= self.counts[split]:
            index -= self.counts[split]
            split += 1
        first = index * self.context_length
        window = self._mapped[split][first : first + self.context_length + 1].astype(np.int64)
        tokens = self.splits[split]
        return {"tokens": torch.from_numpy(window), "split_tokens": tokens.tokens, "split_bytes": tokens.bytes}

    @cached_property
    def _mapped(self) -> list[np.ndarray]:
        return [tokens.mapped() for tokens in self.splits]

    def __getstate__(self) -> dict:
        """Leave the maps out: a worker that is started, not forked, opens the files itself."""
        return {name: value for name, value in vars(self).items() if name != "_mapped"}
