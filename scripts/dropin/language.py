"""The networks of scripts/dropin_language: small ones with random weights, so that nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY, TOKENS, WIDTH, HEADS, DEPTH = 97, 16, 96, 6, 2
PIXELS, PATCH, CLASSES = 32, 8, 10


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.c_attn(x).split(width, dim=2)
        q, k, v = (t.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(mixed.transpose(1, 2).contiguous().view(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """A GPT as nanoGPT has it, with learned positions."""

    def __init__(self, tied: bool, width: int = WIDTH, heads: int = HEADS, depth: int = DEPTH):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, width), nn.Embedding(TOKENS, width)
        self.drop, self.ln_f = nn.Dropout(0.1), nn.LayerNorm(width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.lm_head = nn.Linear(width, VOCABULARY, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.drop(self.wte(input_ids) + self.wpe(positions))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class Encoder(nn.Module):
    """Embeddings, torch.nn.TransformerEncoder and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(TOKENS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, DEPTH, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids) + self.positions(torch.arange(input_ids.shape[1], device=input_ids.device))
        return self.head(self.encoder(x))


def of_transformers(name: str, **sizes: int) -> nn.Module:
    """Build a model of transformers, such as Llama for LlamaConfig, with random weights."""
    import transformers

    family, _, task = name.partition(" ")
    config = getattr(transformers, f"{family}Config")(**sizes)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(config, key, None):
            setattr(config, key, 1)
    return getattr(transformers, f"{family}{task}")(config)


USUAL = {
    "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH,
    "max_position_embeddings": 2 * TOKENS, "vocab_size": VOCABULARY,
}  # fmt: skip
SIZES: dict[str, dict[str, int]] = {
    "GPT2 LMHeadModel": {
        "n_embd": WIDTH, "n_layer": DEPTH, "n_head": HEADS, "n_positions": TOKENS, "vocab_size": VOCABULARY
    },
    "GPTNeoX ForCausalLM": USUAL,
    "OPT ForCausalLM": {
        "hidden_size": WIDTH, "word_embed_proj_dim": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS,
        "ffn_dim": 4 * WIDTH, "max_position_embeddings": 2 * TOKENS, "vocab_size": VOCABULARY,
    },
    "Llama ForCausalLM": USUAL | {"num_key_value_heads": 2},
    "Qwen2 ForCausalLM": USUAL | {"num_key_value_heads": 2},
    "Qwen3 ForCausalLM": USUAL | {"num_key_value_heads": 2, "head_dim": WIDTH // HEADS},
    "Mistral ForCausalLM": USUAL | {"num_key_value_heads": 2},
    "Bert ForMaskedLM": USUAL,
    "ViT ForImageClassification": {
        "hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH,
        "image_size": PIXELS, "patch_size": PATCH, "num_labels": CLASSES,
    },
    "T5 ForConditionalGeneration": {
        "d_model": WIDTH, "d_kv": WIDTH // HEADS, "d_ff": 4 * WIDTH, "num_layers": DEPTH, "num_heads": HEADS,
        "vocab_size": VOCABULARY,
    },
    "Mamba ForCausalLM": {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "vocab_size": VOCABULARY},
}  # fmt: skip
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "GPT, tied": partial(GPT, tied=True),
    "GPT, untied": partial(GPT, tied=False),
    "torch.nn.TransformerEncoder": Encoder,
    **{f"transformers/{name.replace(' ', '')}": partial(of_transformers, name, **SIZES[name]) for name in SIZES},
}


def inputs_of(name: str) -> tuple[Tensor, ...]:
    """Return two samples for a network: tokens, or images for ViT. T5 also takes the tokens of its decoder."""
    random = torch.Generator().manual_seed(0)
    if "ViT" in name:
        return (torch.randn(2, 3, PIXELS, PIXELS, generator=random),)
    return (torch.randint(2, VOCABULARY, (2, TOKENS), generator=random),)


def example_of(name: str) -> dict[str, Tensor] | tuple[Tensor, ...]:
    """Return the example for `sparsify`."""
    inputs = inputs_of(name)
    return {"input_ids": inputs[0], "decoder_input_ids": inputs[0]} if "T5" in name else inputs


def takes_mask(name: str) -> bool:
    """Return whether a network takes a 2-D mask of its tokens."""
    return name.startswith("transformers/") and not any(family in name for family in ("ViT", "T5", "Mamba"))
