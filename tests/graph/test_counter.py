"""FLOPs outside of layers: products of activations, and of bare weights, against torch's own counter."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sparseift import forward_flops, sparsify
from sparseift.errors import BudgetError
from sparseift.graph.attention import with_linear_attention


def counted(net: nn.Module, example: torch.Tensor) -> int:
    """FLOPs of one sample by torch's counter, which counts attention by its products under this kernel only."""
    net = with_linear_attention(net).to(example.device).eval()  # torch's own attention has a fused path on the CPU
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        net(example[:1])
    return counter.get_total_flops()


class Block(nn.Module):
    """Causal attention with fewer heads for keys and values, and two linears with a residual connection each."""

    def __init__(self, width: int = 16, groups: int = 2):
        super().__init__()
        self.groups = groups
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width // groups)
        self.out, self.up, self.down = nn.Linear(width, width), nn.Linear(width, 32), nn.Linear(32, width)

    def forward(self, x):
        q, (k, v) = self.q(x).unflatten(-1, (4, -1)), self.kv(x).unflatten(-1, (4 // self.groups, -1)).chunk(2, -1)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.groups > 1)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(x)))


class ByHand(nn.Module):
    """Attention and a filter in every spelling that torch has for a product."""

    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 3)
        self.register_buffer("blur", torch.ones(1, 1, 3) / 3)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        x = torch.einsum("bts,bsd->btd", torch.einsum("btd,bsd->bts", q, k).softmax(-1), v)
        x = x + (q @ k.mT).softmax(-1).matmul(v) + torch.bmm(torch.bmm(q, k.mT).softmax(-1), v)
        x = torch.baddbmm(x, q @ k.mT, v)
        x = F.scaled_dot_product_attention(q, k, x, attn_mask=torch.ones(x.shape[1], x.shape[1], device=x.device))
        return self.head(F.conv1d(x.mean(-1, keepdim=True).mT, self.blur, padding=1).mT * x)


class Bare(nn.Module):
    """Weights outside of layers, in every spelling."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        self.weight = nn.Parameter(torch.randn(8, 8))
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        x = F.relu(self.first(x))
        x = torch.einsum("...i,io->...o", x, self.weight)
        x = F.linear(x @ self.weight, self.weight, self.bias)
        x = torch.addmm(self.bias, x.reshape(-1, 8), self.weight).view(x.shape)
        return self.head(x)


class Own(nn.MultiheadAttention):
    """A subclass is no module of torch, so its projections stay bare parameters."""


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (Block(), (3, 10, 16)),
        (Block(groups=1), (3, 10, 16)),
        (ByHand(), (2, 5, 8)),
    ],
    ids=["grouped heads", "causal", "every spelling"],
)
def test_products_outside_of_layers(net: nn.Module, shape: tuple[int, ...]) -> None:
    assert forward_flops(net, torch.empty(shape)) == counted(net, torch.randn(shape)) > 0


def test_recurrent_layers() -> None:
    """Weights of 4 gates of 16, for 8 inputs and 16 states, in each of 7 steps; torch's counter misses it."""
    assert forward_flops(nn.LSTM(8, 16, batch_first=True), torch.empty(2, 7, 8)) == 7 * 2 * 4 * 16 * (8 + 16)


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"])
def test_torchvision_transformers(name: str) -> None:
    with torch.device("meta"):
        net, x = getattr(torchvision.models, name)(), torch.empty(2, 3, 224, 224)
    assert forward_flops(net, x) == counted(net, x)


@pytest.mark.parametrize("net", [Own(8, 2, batch_first=True), nn.MultiheadAttention(8, 2, add_bias_kv=True)])
def test_attention_that_stays_as_it_is(net: nn.Module) -> None:
    x = torch.empty(5, 5, 8, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta")(x[:1], x[:1], x[:1], need_weights=True)
    assert forward_flops(net, ((x, x, x), {"need_weights": True})) == counter.get_total_flops()


class Stack(nn.Sequential):
    def __init__(self, *blocks: nn.Module):
        super().__init__(nn.Linear(12, 16), *blocks, nn.Linear(16, 4))


@pytest.mark.parametrize("member", ["dense", "sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_the_budget_is_all_that_the_dense_network_costs(member: str) -> None:
    """Width 16 by 2: products cost twice as much as before, so the layers get less than the density 1 - s."""
    net, x = Stack(Block(groups=1), Block(groups=1)), torch.randn(2, 40, 12)
    new, plan = sparsify(net, member, 0.75, x)
    assert plan.budget == counted(net, x)
    assert plan.forward_stored == counted(new, x)
    assert plan.products == 2 * 2 * 2 * 40 * 40 * (32 if member == "sparse_wide" else 16)
    spared = sum((layer.numel - layer.active) * layer.flops_per_weight for layer in plan.layers)
    assert plan.forward == plan.forward_stored - spared
    if member != "dense":
        assert plan.ratio == pytest.approx(1, abs=1e-3)


def test_budgets_of_layers_alone_and_of_nominal_density() -> None:
    """Either really costs more than the dense network, and the plan says how much."""
    net, x = Stack(Block(groups=1), Block(groups=1)), torch.randn(2, 40, 12)
    _, layers = sparsify(net, "sparse_wide", 0.75, x, budget="layers")
    _, nominal = sparsify(net, "sparse_wide", 0.75, x, budget="nominal")
    dense_products = 2 * 2 * 2 * 40 * 40 * 16
    assert layers.budget == nominal.budget == counted(net, x)
    assert layers.ratio == pytest.approx(1 + dense_products / layers.budget, abs=1e-3)
    assert all(layer.active == layer.numel // 4 for layer in nominal.masked.values())
    assert nominal.ratio > 1.1


def test_products_beyond_the_budget_are_refused() -> None:
    net, x = Stack(Block(groups=1)), torch.randn(1, 2000, 12)
    with pytest.raises(BudgetError, match="products outside of layers cost 514,048,000 FLOPs"):
        sparsify(net, "sparse_wide", 0.75, x)


class Factors(nn.Module):
    """Two weights in one product, which torch multiplies one after the other."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 8), nn.Linear(8, 3)
        self.down, self.up = nn.Parameter(torch.randn(8, 4)), nn.Parameter(torch.randn(4, 8))

    def forward(self, x):
        return self.head(F.relu(torch.einsum("bti,ir,ro->bto", F.relu(self.first(x)), self.down, self.up)))


@pytest.mark.parametrize("net", [Bare(), Factors()])
def test_a_bare_weight_is_counted_once(net: nn.Module) -> None:
    x = torch.randn(2, 5, 8)
    assert forward_flops(net, x) == counted(net, x)
