"""GPT: a decoder-only transformer with the module names of GPT-2."""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..common import checks

TRUNCATED_AT = 2.0
"""Where the normal distribution of the initial weights ends, in standard deviations."""


class SelfAttention(nn.Module):
    """Causal self-attention. The sizes of the heads follow from the width of the input, which a member may change."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.resid_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.resid_dropout(self.c_proj(mixed.transpose(1, 2).flatten(2)))


class MLP(nn.Module):
    """The feed-forward part of a block."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, inner)
        self.act = nn.GELU()
        self.c_proj = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))


class Block(nn.Module):
    """Attention and a feed-forward part, each with a layer norm before it and a residual connection around it."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads, dropout)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = MLP(width, inner, dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Embeddings of tokens and positions, blocks, and a final layer norm: (N, T), int64, to (N, T, width)."""

    def __init__(
        self, vocab_size: int, positions: int, layers: int, width: int, heads: int, inner: int, dropout: float
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, width)
        self.wpe = nn.Embedding(positions, width)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList(Block(width, heads, inner, dropout) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.checkpointing = False

    def forward(self, tokens: Tensor) -> Tensor:
        length, positions = tokens.shape[1], self.wpe.num_embeddings
        checks.require(length <= positions, "the length of a sequence", length, f"at most {positions} tokens")
        x = self.drop(self.wte(tokens) + self.wpe(torch.arange(length, device=tokens.device)))
        for block in self.h:
            again = self.checkpointing and self.training and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        return self.ln_f(x)


class GPT(nn.Module):
    """Maps tokens (N, T), int64, to the scores of the next token at each position, (N, T, vocab_size).

    The names are those of GPT-2 (`transformer.h.0.attn.c_attn`), and the head shares the weight of the token embedding.
    Weights are drawn from a truncated normal distribution. Those that write into the residual stream (`c_proj`) have a
    standard deviation of `init_std` / sqrt(2 `layers`) (Radford et al. 2019, section 2.3). Biases start at zero.

    Args:
        vocab_size: Number of tokens.
        positions: Maximum length T of a sequence.
        layers: Number of blocks.
        width: Width of the residual stream, a multiple of `heads`.
        heads: Attention heads per block.
        inner: Width of the feed-forward part; by default 4 times `width`.
        dropout: Dropout of embeddings, attention and both parts of a block, in [0, 1).
        init_std: Standard deviation of the normal distribution, before it is truncated at two standard deviations.
        checkpointing: Whether to compute the activations of a block again in the backward pass, which saves memory.
    """

    def __init__(
        self,
        vocab_size: int,
        positions: int,
        layers: int,
        width: int,
        heads: int,
        inner: int | None = None,
        dropout: float = 0.0,
        init_std: float = 0.02,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"vocab_size": vocab_size, "positions": positions, "layers": layers, "width": width, "heads": heads}
        for name, size in sizes.items():
            checks.integer(f"model.{name}", size, 1)
        inner = 4 * width if inner is None else checks.integer("model.inner", inner, 1)
        checks.require(width % heads == 0, "model.width", width, f"a multiple of model.heads, which is {heads}")
        checks.number("model.dropout", dropout, 0, 1, open_at=")")
        checks.number("model.init_std", init_std, 0, open_at="(")
        self.transformer = Transformer(**sizes, inner=inner, dropout=dropout)
        self.transformer.checkpointing = checks.boolean("model.checkpointing", checkpointing)
        self.lm_head = nn.Linear(width, vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
        self._initialize(init_std, init_std / sqrt(2 * layers))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.lm_head(self.transformer(tokens))

    def _initialize(self, std: float, std_of_residual: float) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding) and module is not self.lm_head:
                own = std_of_residual if name.endswith("c_proj") else std
                nn.init.trunc_normal_(module.weight, std=own, a=-TRUNCATED_AT * own, b=TRUNCATED_AT * own)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
