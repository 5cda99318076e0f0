"""Attention by linear layers against nn.MultiheadAttention."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from sparseift import Masks, sparsify
from sparseift.graph.attention import with_linear_attention

from ..nets import MEMBERS, Net

NUMBERS = ("embed_dim", "num_heads", "head_dim", "kdim", "vdim", "batch_first", "dropout", "add_zero_attn")


class Named(nn.MultiheadAttention):
    """A subclass without a forward function of its own."""


@pytest.mark.parametrize("kind", [nn.MultiheadAttention, Named])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 6, "vdim": 5}], ids=["", "sizes"])
@pytest.mark.parametrize(("batch_first", "bias", "tokens", "zero"), list(product([True, False], repeat=4)))
def test_values_are_those_of_torch(kind, sizes, batch_first: bool, bias: bool, tokens: bool, zero: bool) -> None:
    torch.manual_seed(0)
    options = {"batch_first": batch_first, "bias": bias, "add_bias_kv": tokens, "add_zero_attn": zero}
    packed = kind(16, 4, **options, **sizes, dtype=torch.double)
    if bias:
        nn.init.normal_(packed.in_proj_bias)
    ours = with_linear_attention(nn.Sequential(packed))[0]
    assert type(ours).__name__ == "Attention"
    assert [getattr(ours, key) for key in NUMBERS] == [getattr(packed, key) for key in NUMBERS]
    widths = (16, packed.kdim, packed.vdim)
    x = [torch.randn(3, n, width).double() for n, width in zip((7, 5, 5), widths, strict=True)]
    x = x if batch_first else [tensor.transpose(0, 1) for tensor in x]
    padding = torch.arange(5).expand(3, 5) > 2
    bias_of_scores = torch.randn(7, 5).double()
    calls = [
        {},
        {"key_padding_mask": padding},
        {"attn_mask": bias_of_scores, "key_padding_mask": padding.double() * -9},
    ]
    for call, need in product(calls, (True, False)):
        expected, weights = packed(*x, need_weights=need, **call)
        found, own = ours(*x, need_weights=need, **call)
        torch.testing.assert_close(found, expected)
        assert own is weights is None or torch.testing.assert_close(own, weights) is None


def test_hooks_of_attention_stay() -> None:
    net, seen = nn.Sequential(nn.MultiheadAttention(8, 2)), []
    net[0].register_forward_hook(lambda module, args, output: seen.append(output[0].shape))
    x = torch.randn(3, 2, 8)
    with_linear_attention(net)[0](x, x, x)
    assert seen == [(3, 2, 8)]


def encoder(nested: bool) -> Net:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return Net(
        lambda m, x, padding=None: m.head(m.body(m.stem(x), src_key_padding_mask=padding)),
        stem=nn.Linear(8, 16), body=nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested), head=nn.Linear(16, 3),
    )  # fmt: skip


X, PADDING = torch.randn(4, 6, 8), (torch.arange(6) > 3).expand(4, 6)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_an_encoder_takes_a_padding_mask_in_both_modes_and_as_an_example(member: str, nested: bool) -> None:
    """In evaluation mode without gradients, torch's encoder reads the bare parameters of its first layer."""
    net = encoder(nested)
    new, plan = sparsify(net, member, 0.5, X)
    assert sparsify(net, member, 0.5, (X, PADDING))[1] == plan
    if member != "dense":
        Masks.random(new, plan, seed=0).apply()

    def run(net: nn.Module) -> Tensor:
        with torch.no_grad():
            return net(X, PADDING)

    training, evaluated = run(new.train()), run(new.eval())
    torch.testing.assert_close(evaluated, training)
    changed = torch.where(PADDING[..., None], torch.randn_like(X), X)
    torch.testing.assert_close(new(changed, PADDING)[:, :4], evaluated[:, :4])
    if member == "dense":
        torch.testing.assert_close(evaluated[:, :4], run(net.eval())[:, :4])
