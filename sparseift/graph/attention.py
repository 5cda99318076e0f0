"""nn.MultiheadAttention with linear layers.

torch's module keeps its projections as parameters outside of layers, where they can't be counted, masked or widened.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .copies import duplicate, updated_references


class Attention(nn.Module):
    """Scaled dot-product attention with the arguments and results of nn.MultiheadAttention."""

    batch_first = False  # nn.TransformerEncoderLayer then leaves its fused path, which would read bare parameters

    def __init__(self, packed: nn.MultiheadAttention):
        super().__init__()
        self.heads = packed.num_heads
        self.dropout = packed.dropout
        self.transposed = not packed.batch_first
        if packed.in_proj_weight is not None:
            weights = packed.in_proj_weight.detach().chunk(3)
        else:
            weights = tuple(w.detach() for w in (packed.q_proj_weight, packed.k_proj_weight, packed.v_proj_weight))
        biases = (None,) * 3 if packed.in_proj_bias is None else packed.in_proj_bias.detach().chunk(3)
        self.query, self.key, self.value = map(_linear, weights, biases)
        out = packed.out_proj
        self.out_proj = _linear(out.weight.detach(), None if out.bias is None else out.bias.detach())

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
        elif self.transposed:
            query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
        q, k, v = (self._split(layer(x)) for layer, x in ((self.query, query), (self.key, key), (self.value, value)))
        bias = _additive(attn_mask, key_padding_mask, q)
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
        return output.transpose(0, 1) if self.transposed else output, weights

    def _split(self, tokens: Tensor) -> Tensor:
        """(N, L, E) -> (N, heads, L, E / heads)."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def with_linear_attention(net: nn.Module) -> nn.Module:
    """Return a copy of the network in which `Attention` replaces nn.MultiheadAttention.

    A network without nn.MultiheadAttention is returned itself. Modules with extra key and value tokens stay as they
    are.
    """
    if not any(type(module) is nn.MultiheadAttention for module in net.modules()):
        return net
    net = duplicate(net)
    with updated_references(net):
        for parent in list(net.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.MultiheadAttention and child.bias_k is None and not child.add_zero_attn:
                    setattr(parent, name, Attention(child).train(child.training))
    return net


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
