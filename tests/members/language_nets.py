"""A GPT, and attention in many spellings."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY, TOKENS, WIDTH, HEADS = 60, 10, 24, 2
IDS = torch.randint(0, VOCABULARY, (2, TOKENS), generator=torch.Generator().manual_seed(0))


class Attention(nn.Module):
    """Attention whose subclasses write out how heads are split, mixed and merged."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.width, self.heads, self.head_dim = width, heads, width // heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.build()

    def build(self) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        return self.out(self.merge(self.mix(*self.split(x)), batch, tokens))

    def split(self, x: Tensor):
        return (t.view(*x.shape[:2], self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def merge(self, mixed: Tensor, batch: int, tokens: int) -> Tensor:
        return mixed.transpose(1, 2).reshape(batch, tokens, -1)


class WidthOfHeads(Attention):
    """view(B, T, -1, head_dim), where the number of heads could grow."""

    def split(self, x: Tensor):
        return (t.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))


class Constants(Attention):
    def split(self, x: Tensor):
        parts = self.qkv(x).split(self.width, -1)
        return (t.view(*x.shape[:2], self.heads, self.head_dim).transpose(1, 2) for t in parts)

    def merge(self, mixed: Tensor, batch: int, tokens: int) -> Tensor:
        return mixed.transpose(1, 2).contiguous().view(batch, tokens, self.width)


class Packed(Attention):
    def split(self, x: Tensor):
        return self.qkv(x).view(*x.shape[:2], 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)


class PackedHeads(Attention):
    """As GPT-NeoX: each head has its queries, keys and values side by side."""

    def split(self, x: Tensor):
        return self.qkv(x).view(*x.shape[:2], -1, 3 * self.head_dim).transpose(1, 2).chunk(3, -1)


class Merged(Attention):
    """Samples and heads are one dimension, as in bmm."""

    def split(self, x: Tensor):
        parts = self.qkv(x).chunk(3, -1)
        return (t.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2).flatten(0, 1) for t in parts)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.bmm((torch.bmm(q, k.transpose(1, 2)) * self.head_dim**-0.5).softmax(-1), v)

    def merge(self, mixed: Tensor, batch: int, tokens: int) -> Tensor:
        return mixed.view(batch, -1, tokens, self.head_dim).transpose(1, 2).flatten(2)


class Einsum(Attention):
    def split(self, x: Tensor):
        return (t.view(*x.shape[:2], -1, self.head_dim) for t in self.qkv(x).chunk(3, -1))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.head_dim)
        return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)

    def merge(self, mixed: Tensor, batch: int, tokens: int) -> Tensor:
        return mixed.flatten(2)


class ScaleAlone(Attention):
    """The attribute is used for the scale, and in no reshape."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT * self.head_dim**-0.5).softmax(-1) @ v


class Asserting(Attention):
    def split(self, x: Tensor):
        assert x.shape[-1] == self.width
        return super().split(x)


class RelativeBias(Attention):
    """As T5: a table with one entry per distance and head, which does not change."""

    def build(self) -> None:
        self.bias = nn.Embedding(2 * TOKENS, self.heads)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        places = torch.arange(q.shape[2], device=q.device)
        bias = self.bias(places[:, None] - places + TOKENS).permute(2, 0, 1)
        return (q @ k.mT + bias).softmax(-1) @ v


class RelativeKeys(WidthOfHeads):
    """As Shaw et al.: an embedding of distances, as wide as a head."""

    def build(self) -> None:
        self.distances = nn.Parameter(torch.randn(2 * TOKENS, self.head_dim))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        places = torch.arange(q.shape[2], device=q.device)
        keys = self.distances[places[:, None] - places + TOKENS]
        return (q @ k.mT + torch.einsum("bhqd,qkd->bhqk", q, keys)).softmax(-1) @ v


class Rotary(WidthOfHeads):
    def build(self) -> None:
        frequencies = 10000 ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        places = torch.arange(q.shape[2], device=q.device).float()
        angles = torch.cat((torch.outer(places, self.frequencies),) * 2, -1)

        def turned(x: Tensor) -> Tensor:
            half = x.shape[-1] // 2
            return x * angles.cos() + torch.cat((-x[..., half:], x[..., :half]), -1) * angles.sin()

        return super().mix(turned(q), turned(k), v)


class ComplexRotary(WidthOfHeads):
    def build(self) -> None:
        frequencies = 10000 ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        angles = torch.outer(torch.arange(TOKENS).float(), frequencies)
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles), persistent=False)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        def turned(x: Tensor) -> Tensor:
            pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * self.turns[: x.shape[2]]).flatten(-2)

        return super().mix(turned(q), turned(k), v)


class Grouped(nn.Module):
    """Half as many heads for keys and values."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.groups, self.head_dim = heads, heads // 2, width // heads
        self.q, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = (nn.Linear(width, self.groups * self.head_dim) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2) for t in (self.q(x), self.k(x), self.v(x)))
        k, v = (t.repeat_interleave(self.heads // self.groups, dim=1) for t in (k, v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


SPELLINGS = (
    Attention, WidthOfHeads, Constants, Packed, PackedHeads, Merged, Einsum, ScaleAlone, Asserting, RelativeBias,
    RelativeKeys, Rotary, ComplexRotary, Grouped,
)  # fmt: skip


class OwnNorm(nn.Module):
    """As nanoGPT: a layer norm with an optional bias."""

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class GatedMLP(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(width, 64), nn.Linear(width, 64), nn.Linear(64, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class GPT(nn.Module):
    def __init__(
        self,
        width: int = WIDTH,
        heads: int = HEADS,
        attention: type[nn.Module] = Attention,
        norm: type[nn.Module] = nn.LayerNorm,
        tied: bool = True,
        std: float = 0.1,
        hidden: int | None = None,
    ):
        super().__init__()
        hidden = hidden or 4 * width
        self.wte, self.wpe, self.drop = nn.Embedding(VOCABULARY, width), nn.Embedding(TOKENS, width), nn.Dropout(0.1)
        self.norms = nn.ModuleList(norm(width) for _ in range(3))
        self.attention = attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                nn.init.normal_(module.weight, std=std)
        if tied:
            self.head.weight = self.wte.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.drop(self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device)))
        x = x + self.attention(self.norms[0](x))
        x = x + self.mlp(self.norms[1](x))
        return self.head(self.norms[2](x))
