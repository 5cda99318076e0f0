"""nn.MultiheadAttention with linear layers.

torch's module keeps its projections as parameters outside of layers, where they can't be counted, masked or widened.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .copies import hooks_of, substituted


class Attention(nn.Module):
    """Scaled dot-product attention with the arguments, results and sizes of nn.MultiheadAttention."""

    in_proj_weight = in_proj_bias = None  # nn.TransformerEncoderLayer then leaves its fused path, which would use them

    def __init__(self, packed: nn.MultiheadAttention):
        super().__init__()
        self.num_heads = packed.num_heads
        self.dropout = packed.dropout
        self.batch_first = packed.batch_first
        self.add_zero_attn = packed.add_zero_attn
        if packed.in_proj_weight is not None:
            weights = packed.in_proj_weight.detach().chunk(3)
        else:
            weights = tuple(w.detach() for w in (packed.q_proj_weight, packed.k_proj_weight, packed.v_proj_weight))
        biases = (None,) * 3 if packed.in_proj_bias is None else packed.in_proj_bias.detach().chunk(3)
        self.query, self.key, self.value = map(_linear, weights, biases)
        out = packed.out_proj
        self.out_proj = _linear(out.weight.detach(), None if out.bias is None else out.bias.detach())
        self.bias_k, self.bias_v = packed.bias_k, packed.bias_v
        vars(self).update(hooks_of(packed))

    @property
    def embed_dim(self) -> int:
        return self.query.out_features

    @property
    def kdim(self) -> int:
        return self.key.in_features

    @property
    def vdim(self) -> int:
        return self.value.in_features

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        single = query.dim() == 2
        if single:
            query, key, value = query[None], key[None], value[None]
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        elif not self.batch_first:
            query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
        q = self._split(self.query(query))
        k = self._split(self._extended(self.key(key), self.bias_k))
        v = self._split(self._extended(self.value(value), self.bias_v))
        bias = _additive(attn_mask, key_padding_mask, q)
        if bias is not None:
            bias = F.pad(bias, (0, k.shape[-2] - bias.shape[-1]))
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
            weights = (scores if bias is None else scores + bias).softmax(-1)
            mixed = F.dropout(weights, dropout) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            weights = None
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        output = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if single:
            return output[0], None if weights is None else weights[0]
        return output if self.batch_first else output.transpose(0, 1), weights

    def _extended(self, tokens: Tensor, more: Tensor | None) -> Tensor:
        """The keys or values (N, S, E) with the additional tokens of nn.MultiheadAttention."""
        if more is not None:
            tokens = torch.cat([tokens, more.expand(len(tokens), 1, -1)], 1)
        return F.pad(tokens, (0, 0, 0, 1)) if self.add_zero_attn else tokens

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, L, E) -> (N, heads, L, E / heads)."""
        return tokens.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def with_linear_attention(net: nn.Module) -> nn.Module:
    """Return a copy of the network in which `Attention` replaces nn.MultiheadAttention.

    A network without nn.MultiheadAttention is returned itself. Subclasses with a forward function of their own stay as
    they are.
    """

    def attention(_: str, module: nn.Module) -> Attention | None:
        if isinstance(module, nn.MultiheadAttention) and type(module).forward is nn.MultiheadAttention.forward:
            return Attention(module).train(module.training)
        return None

    if not any(isinstance(module, nn.MultiheadAttention) for module in net.modules()):
        return net
    new = substituted(net, attention)
    for module in new.modules() if new is not net else ():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # of a fused path, which would use bare parameters
    return new


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.clone())
    return layer


def _additive(attn_mask: Tensor | None, key_padding_mask: Tensor | None, like: Tensor) -> Tensor | None:
    """Both masks as one tensor (N, heads or 1, L, S) to add to the scores."""
    total = None
    if attn_mask is not None:
        mask = _as_bias(attn_mask, like)
        total = mask.view(-1, like.shape[1], *mask.shape[1:]) if mask.dim() == 3 else mask
    if key_padding_mask is not None:
        padding = _as_bias(key_padding_mask, like)[:, None, None, :]
        total = padding if total is None else total + padding
    return total


def _as_bias(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype is torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
    return mask.to(like.dtype)
