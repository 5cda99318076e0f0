"""Language modelling: prediction of the next token, with perplexity and bits per byte."""

from __future__ import annotations

from math import exp, log
from typing import Any
from weakref import ReferenceType, ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import checks
from ..runs.metric import Metric
from .base import Task


class LanguageModelling(Task):
    """Cross-entropy loss, in nats per token, of a network that maps tokens (N, T) to logits (N, T, tokens).

    The network may also return an object with these logits as its attribute `logits`, as those of Hugging Face do.

    A batch has `tokens`, int64 of shape (N, T + 1), and the number of tokens and of bytes of the split that each sample
    is from, `split_tokens` and `split_bytes`, of shape (N,). Bits per byte are those of the loss per token for the mean
    number of bytes per token of the split (Gao et al. 2020, section 3.1).

    Args:
        vocab_size: Number of tokens of the data.
        context_length: Number of tokens T that the network reads at a time.
    """

    metrics = (
        Metric("perplexity", "perplexity", higher_is_better=False, of_mean=exp),
        Metric("bits_per_byte", "bits per byte", higher_is_better=False),
    )

    def __init__(self, vocab_size: int, context_length: int) -> None:
        self.vocab_size = checks.integer("dataset.vocab_size", vocab_size, 1)
        self.context_length = checks.integer("dataset.context_length", context_length, 1)
        self.parts_of_sample = ("tokens", self.context_length)
        self._computed: tuple[ReferenceType[Tensor], Tensor] | None = None

    def example(self) -> Tensor:
        return torch.empty(1, self.context_length, dtype=torch.int64, device="meta")

    def inputs(self, batch: dict[str, Tensor]) -> tuple[tuple, dict]:
        return (batch["tokens"][:, :-1],), {}

    def loss(self, outputs: Any, batch: dict[str, Tensor]) -> Tensor:
        logits, targets = logits_of(outputs), batch["tokens"][:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
        self._computed = ref(logits), losses.detach()
        return losses

    def measure(self, outputs: Any, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        # The loss of the same outputs is not computed twice: for 50,257 tokens it takes long, and much memory.
        known = self._computed and self._computed[0]() is logits_of(outputs)
        losses = self._computed[1] if self._computed and known else self.loss(outputs, batch)
        tokens_per_byte = batch["split_tokens"].double() / batch["split_bytes"]
        repeats = len(losses) // len(tokens_per_byte)
        bits = losses * tokens_per_byte.float().repeat_interleave(repeats) / log(2)
        return {"perplexity": losses, "bits_per_byte": bits}

    def samples(self, batch: dict[str, Tensor]) -> int:
        return len(batch["tokens"])

    def predict(
        self,
        net: nn.Module,
        preprocessing: Any,
        item: str,
        tokens: int = 100,
        temperature: float = 0.8,
        seed: int = 0,
    ) -> list[dict[str, Any]]:
        """Return a continuation of a text.

        Args:
            tokens: Number of tokens to draw.
            temperature: Divides the logits; 0 takes the most likely token.
            seed: Seed of the random numbers.
        """
        from .generation import generate  # which reads logits with the function below

        prompt, generator = preprocessing(item)[0].tolist(), torch.Generator().manual_seed(seed)
        new = generate(net, prompt, tokens, self.context_length, temperature, generator)
        return [{"continuation": preprocessing.encoder.decode(new)}]


def logits_of(outputs: Any) -> Tensor:
    """Return the logits (N, T, tokens) in the outputs of a network."""
    return getattr(outputs, "logits", outputs)
