"""Code that depends on the width besides layers: a widened network equals one that is built twice as wide."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sparseift import UserError, sparsify, transform
from sparseift.errors import BudgetError

from .networks import HEADS, HeadsFirst, Wrapped, X

LAYERS = (nn.Conv2d, nn.Conv3d, nn.Linear)


class CrossCovariance(Wrapped):
    """Attention between channels, whose matrix is widened in both dimensions (XCiT)."""

    def build(self, width: int) -> None:
        self.heads = HEADS
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def middle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        qkv = self.qkv(x.flatten(2).transpose(1, 2)).reshape(n, h * w, 3, self.heads, -1).permute(2, 0, 3, 4, 1)
        q, k, v = qkv.unbind(0)
        attention = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)).softmax(-1)
        return self.proj((attention @ v).permute(0, 3, 1, 2).reshape(n, h * w, c)).transpose(1, 2).view_as(x)


class Reduced(Wrapped):
    """Keys and values of fewer tokens, with a reshape that has -1 for their number (PVT)."""

    def build(self, width: int) -> None:
        self.heads, self.head_dim = HEADS, width // HEADS
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.reduce, self.norm = nn.Conv2d(width, width, 2, stride=2), nn.LayerNorm(width)

    def middle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q = self.q(x.flatten(2).transpose(1, 2)).reshape(n, h * w, self.heads, -1).permute(0, 2, 1, 3)
        few = self.norm(self.reduce(x).reshape(n, c, -1).permute(0, 2, 1))
        k, v = self.kv(few).reshape(n, -1, 2, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c).transpose(1, 2).view_as(x)


class Cached(HeadsFirst):
    """A positional bias that is computed in the first run and cached (LeViT)."""

    def build(self, width: int) -> None:
        super().build(width)
        self.table, self.cache = nn.Parameter(torch.randn(HEADS, 16)), {}

    def middle(self, x: Tensor) -> Tensor:
        if "bias" not in self.cache:
            self.cache["bias"] = self.table[:, torch.arange(16, device=x.device)]
        return super().middle(x) + self.cache["bias"].sum()


class OneAndTwoWidths(Wrapped):
    """A layer whose number of outputs is not a multiple of a width (MobileViTv2)."""

    def build(self, width: int) -> None:
        self.width = width
        self.scores, self.proj = nn.Conv2d(width, 1 + 2 * width, 1), nn.Conv2d(width, width, 1)

    def middle(self, x: Tensor) -> Tensor:
        score, key, value = self.scores(x).split([1, self.width, self.width], dim=1)
        return self.proj(value * (key * score.flatten(2).softmax(-1).view_as(score)).sum((2, 3), keepdim=True))


class WideFromOne(Wrapped):
    """A convolution from one channel, whose third dimension has the width (LambdaNetworks)."""

    def build(self, width: int) -> None:
        self.width, self.value, self.proj = width, nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.positions = nn.Conv3d(1, width, (3, 3, 1), padding=(1, 1, 0))

    def middle(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        value = self.value(x).reshape(n, self.width, h * w).transpose(1, 2)
        kernels = self.positions(value.reshape(n, 1, h, w, self.width)).reshape(n, self.width, h * w, self.width)
        return self.proj(torch.einsum("nkpv,nkp->nvp", kernels, x.flatten(2)).view_as(x))


class Blurred(Wrapped):
    """A fixed filter for each channel (BlurPool)."""

    def build(self, width: int) -> None:
        self.channels, self.end = width, nn.Conv2d(width, width, 3, padding=1)
        self.register_buffer("filters", torch.full((width, 1, 2, 2), 0.25))

    def middle(self, x: Tensor) -> Tensor:
        return self.end(F.conv2d(x, self.filters, stride=2, groups=self.channels))


class Auxiliary(Wrapped):
    """A second head that runs only in training (GoogLeNet)."""

    def build(self, width: int) -> None:
        self.body, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.aux_body, self.aux_norm, self.aux = nn.Conv2d(width, width, 4), nn.BatchNorm2d(width), nn.Linear(width, 5)

    def middle(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.body(x)))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if not self.training:
            return super().forward(x)
        return super().forward(x), self.aux(F.relu(self.aux_norm(self.aux_body(self.stem(x)))).flatten(1))


PATTERNS = [HeadsFirst, CrossCovariance, Reduced, Cached, OneAndTwoWidths, WideFromOne, Blurred, Auxiliary]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_widened_network_equals_one_built_twice_as_wide(pattern: type[Wrapped], training: bool) -> None:
    new, wide = transform(pattern(8), "sparse_wide", 0.75, X), pattern(16)
    wide.load_state_dict(new.state_dict())
    torch.testing.assert_close(new.train(training)(X), wide.train(training)(X), rtol=0, atol=0)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_widened_network_costs_what_the_dense_one_costs(pattern: type[Wrapped]) -> None:
    """By torch's counter of each layer, times the density."""
    net = pattern(8)
    new, plan = sparsify(net, "sparse_wide", 0.75, X[:1], budget="layers")  # the products would exceed the budget

    def counted(network: nn.Module) -> dict[str, int]:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(X[:1])
        return {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}

    dense, wide = counted(net), counted(new)
    names = {layer.name: f"{pattern.__name__}.{layer.name}" for layer in plan.layers}
    budget = sum(dense[name] for name in names.values())
    cost = sum(wide[names[layer.name]] * layer.density for layer in plan.layers)
    assert len(names) == sum(isinstance(m, LAYERS) for n, m in net.named_modules() if "aux" not in n)
    assert abs(cost - budget) <= max(layer.flops_per_weight for layer in plan.layers)


def test_a_head_that_runs_in_neither_mode_is_refused() -> None:
    net = HeadsFirst(8)
    net.spare = nn.Linear(8, 2)
    with pytest.raises(UserError, match="spare did not run"):
        transform(net, "sparse_wide", 0.75, X)


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(weight, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class WeightNorms(Wrapped):
    """A network whose weights are standardised before use (NFNet)."""

    def build(self, width: int) -> None:
        self.stem = Standardised(3, width, 3, padding=1)
        self.middle = nn.Sequential(*(Standardised(width, width, 3, padding=1) for _ in range(3)))


def test_weights_that_are_standardised_are_widened() -> None:
    new, wide = transform(WeightNorms(8), "sparse_wide", 0.75, X), WeightNorms(16)
    wide.load_state_dict(new.state_dict())
    torch.testing.assert_close(new(X), wide(X), rtol=0, atol=0)


@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_weights_that_are_standardised_are_not_masked(member: str) -> None:
    with pytest.raises(BudgetError, match="4 of its 5 layers, such as stem, compute their weight") as refusal:
        sparsify(WeightNorms(8), member, 0.75, X)
    assert "\n" not in str(refusal.value)


class Scrambled(Wrapped):
    """A reshape with a constant for the channels and -1 for the pixels."""

    def build(self, width: int) -> None:
        self.end = nn.Conv2d(width, width, 1)

    def middle(self, x: Tensor) -> Tensor:
        return self.end(x.reshape(len(x), 8, -1).unflatten(2, (4, -1)))


def test_a_reshape_that_would_mix_channels_and_pixels_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"Scrambled makes .* a width has gone into another dimension"):
        transform(Scrambled(8), "sparse_wide", 0.75, X)


def test_a_network_on_the_cpu_is_widened_like_one_on_meta() -> None:
    """The tensors of its copy on the meta device are freed when they are replaced."""
    timm = pytest.importorskip("timm")
    x, options = torch.empty(1, 3, 64, 64), {"depth": 1, "embed_dim": 32, "num_heads": 2, "img_size": 64}
    with torch.device("meta"):
        bare = timm.create_model("xcit_nano_12_p16_224", **options)
    valued = timm.create_model("xcit_nano_12_p16_224", **options)
    shapes = [
        {name: tensor.shape for name, tensor in transform(net, "sparse_wide", 0.75, x).state_dict().items()}
        for net in (bare, valued)
    ]
    assert shapes[0] == shapes[1]
