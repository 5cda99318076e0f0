"""Sparse Wide against networks that are built wide, and its refusals."""

import re

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sparseift import UserError, sparsify, transform
from sparseift.graph.recorder import trace
from sparseift.members import SparseWide
from sparseift.models import resnet18_cifar

X = torch.empty(2, 3, 8, 8, device="meta")
NEAREST, DOWN = SparseWide(rounding="nearest"), SparseWide(rounding="down")


def conv(inputs: int, outputs: int, kernel: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


WIDTHS = [
    (0.5, NEAREST, 91),
    (0.75, NEAREST, 128),
    (0.9, NEAREST, 202),
    (0.5, DOWN, 90),
    (0.75, DOWN, 128),
    (0.9, DOWN, 202),
]


@pytest.mark.parametrize(("sparsity", "member", "width"), WIDTHS)
def test_resnet18_has_the_shapes_of_one_built_that_wide(sparsity: float, member: SparseWide, width: int) -> None:
    with torch.device("meta"):
        net, wide = resnet18_cifar(100), resnet18_cifar(100, base_width=width)
    new = transform(net, member, sparsity, torch.empty(1, 3, 32, 32))
    assert shapes(new) == shapes(wide)
    assert str(new) == str(wide)


def test_it_equals_a_network_that_is_built_that_wide() -> None:
    torch.manual_seed(0)
    net, wide = resnet18_cifar(10, base_width=8), resnet18_cifar(10, base_width=16)
    x = torch.randn(2, 3, 16, 16)
    new = transform(net, "sparse_wide", 0.75, x).eval()
    wide.load_state_dict(new.state_dict())
    torch.testing.assert_close(new(x), wide.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_stem_and_head_keep_the_channels_of_inputs_and_outputs(name: str) -> None:
    with torch.device("meta"):
        net = getattr(torchvision.models, name)(num_classes=64)  # as many classes as channels: nothing goes by shape
    new = transform(net, "sparse_wide", 0.75, torch.empty(1, 3, 64, 64))
    before, after = shapes(net), shapes(new)
    head = "fc" if name == "resnet50" else "classifier.1"
    stem = "conv1" if name == "resnet50" else "features.0.0"
    assert after[f"{stem}.weight"] == (2 * before[f"{stem}.weight"][0], *before[f"{stem}.weight"][1:])
    assert after[f"{head}.weight"] == (64, 2 * before[f"{head}.weight"][1])
    assert after[f"{head}.bias"] == (64,)
    assert all(after[key][0] == 2 * before[key][0] for key in before if before[key] and head not in key)


BUILD = {
    "concatenation": lambda: torchvision.models.DenseNet(16, (4, 4), 8, num_classes=10),
    "flattening": lambda: torchvision.models.vgg11_bn(num_classes=10),
    "gates": lambda: torchvision.models.mobilenet_v3_small(num_classes=10),
    "groups": lambda: torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1] * 4, 10, groups=8),
    "shuffles": lambda: torchvision.models.ShuffleNetV2([2, 2, 2], [24, 48, 96, 192, 256], num_classes=10),
}


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
def test_networks_of_many_kinds_are_widened(build) -> None:
    with torch.device("meta"):
        net = build()
    x = torch.empty(1, 3, 64, 64)
    new, plan = sparsify(net, "sparse_wide", 0.75, x)
    assert abs(plan.ratio - 1) < 1e-4
    assert [layer.positions for layer in trace(new, x).layers.values()] == [
        layer.positions for layer in trace(net, x).layers.values()
    ]


def test_grouped_convolutions_keep_their_groups_and_depthwise_their_multiplier() -> None:
    net = nn.Sequential(
        conv(3, 8), conv(8, 12, groups=4), conv(12, 24, groups=12), conv(24, 24, groups=24), conv(24, 5)
    )
    new = transform(net, "sparse_wide", 0.75, X)
    assert [(m.in_channels, m.out_channels, m.groups) for m in new] == [
        (3, 16, 1), (16, 24, 4), (24, 48, 24), (48, 48, 48), (48, 5, 1),
    ]  # fmt: skip
    assert new(torch.randn(2, 3, 8, 8)).shape == (2, 5, 8, 8)


def test_all_other_options_of_a_layer_are_kept() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Conv2d(4, 8, 3, stride=2, padding=2, dilation=2, bias=False, padding_mode="circular"),
        nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1),
        nn.Conv2d(4, 4, (1, 3), padding="same"),
        nn.Flatten(2),
        nn.Linear(100, 6, bias=False),
        nn.Conv1d(4, 4, 2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    new = transform(net, "sparse_wide", 0.75, X)
    for old, wide in zip(net, new, strict=True):
        if not hasattr(old, "weight"):
            continue
        for option in ("kernel_size", "stride", "padding", "dilation", "padding_mode", "output_padding"):
            assert getattr(wide, option, None) == getattr(old, option, None)
        assert (wide.bias is None) == (old.bias is None)


def test_norms_of_every_kind_follow() -> None:
    net = nn.Sequential(
        conv(3, 8), nn.BatchNorm2d(8), conv(8, 8), nn.GroupNorm(4, 8), conv(8, 8), nn.InstanceNorm2d(8, affine=True),
        nn.PReLU(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2),
    )  # fmt: skip
    new = transform(net, "sparse_wide", 0.75, X)
    assert str(new[1]) == str(nn.BatchNorm2d(16))
    assert new[3].num_channels == 16 and 16 % new[3].num_groups == 0 and new[3].num_groups >= 4
    assert str(new[5]) == str(nn.InstanceNorm2d(16, affine=True))
    assert new[6].weight.shape == (16,)
    assert str(new[10]) == str(nn.LayerNorm(16))
    assert new(torch.randn(2, 3, 8, 8)).shape == (2, 2)


def test_norms_keep_their_values() -> None:
    net = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), conv(4, 2))
    nn.init.zeros_(net[1].weight)
    net[1].running_mean[:] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    net[1].num_batches_tracked += 7
    new = transform(net, "sparse_wide", 0.75, X)[1]
    assert torch.equal(new.weight, torch.zeros(8))
    assert torch.equal(new.bias, torch.zeros(8))
    assert torch.equal(new.running_mean, torch.tensor([1.0, 1, 2, 2, 3, 3, 4, 4]))
    assert new.num_batches_tracked == 7


def test_shared_weights_stay_shared() -> None:
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    net[2].weight = net[1].weight
    new = transform(net, "sparse_wide", 0.75, torch.empty(2, 4))
    assert new[2].weight is new[1].weight
    assert new[1].weight.shape == (8, 8)


def test_every_output_keeps_its_width() -> None:
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.mid, self.box, self.score = conv(3, 8), conv(8, 8), conv(8, 4), nn.Linear(8, 8)

        def forward(self, x):
            h = F.relu(self.mid(F.relu(self.stem(x))))
            return {"box": self.box(h).sigmoid(), "score": [self.score(h.mean((2, 3)))]}

    new = transform(TwoHeads(), "sparse_wide", 0.75, X)
    out = new(torch.randn(2, 3, 8, 8))
    assert (out["box"].shape, out["score"][0].shape) == ((2, 4, 8, 8), (2, 8))
    assert (new.mid.out_channels, new.box.in_channels, new.score.in_features) == (16, 16, 16)


@given(st.floats(0.02, 0.99), st.sampled_from([1, 8, 24, 64]), st.sampled_from(["nearest", "down"]))
def test_the_factor_is_the_nearest_or_the_next_lower(sparsity: float, unit: int, rounding: str) -> None:
    """Hidden widths are multiples of `unit`, so that the factor is a multiple of 1 / `unit`."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(3, unit), nn.Linear(unit, 2 * unit), nn.Linear(2 * unit, 2))
    wanted = unit * (1 - sparsity) ** -0.5
    try:
        width = transform(net, SparseWide(rounding), sparsity, torch.empty(1, 3))[0].out_features
    except UserError:
        assert wanted < unit + (0.5 if rounding == "nearest" else 1) + 1e-6
        return
    assert width > unit
    if rounding == "nearest":
        assert abs(width - wanted) <= 0.5 + 1e-6
    else:
        assert -1e-6 <= wanted - width < 1


def test_an_unknown_rounding_is_refused() -> None:
    with pytest.raises(UserError, match=r"^member\.rounding is 'up'; expected one of nearest, down$"):
        transform(nn.Sequential(conv(3, 8), conv(8, 8), conv(8, 2)), SparseWide("up"), 0.75, X)


def deep(unit: int) -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(1, unit), *(nn.Linear(unit, unit) for _ in range(20)), nn.Linear(unit, 1))


@pytest.mark.parametrize("rounding", ["nearest", "down"])
@pytest.mark.parametrize("unit", [2, 3, 8, 64])
def test_a_sparsity_at_which_no_width_fits_is_refused_with_one_that_works(unit: int, rounding: str) -> None:
    net, member, x = deep(unit), SparseWide(rounding), torch.empty(1, 1)
    with pytest.raises(UserError, match=r"nearest sparsity that works is (0\.\d+)$") as refusal:
        sparsify(net, member, 0.01, x)
    near = float(str(refusal.value).split()[-1])
    assert abs(sparsify(net, member, near, x)[1].ratio - 1) < 0.1  # one weight is a lot in a layer of four
    with pytest.raises(UserError):
        sparsify(net, member, near - 0.02, x)


def test_no_sparsity_works_if_no_width_leaves_a_weight_for_every_layer() -> None:
    """At twice the width the dense ends cost 4 of the budget of 22 multiplications: 18 are left for 20 layers."""
    with pytest.raises(UserError, match=r"no sparsity can$"):
        sparsify(deep(1), SparseWide(), 0.01, torch.empty(1, 1))


def test_the_nearest_sparsity_meets_the_budget() -> None:
    """The stem costs so much that a sparsity at which a width fits may not meet the budget."""
    net = nn.Sequential(conv(3, 3, 7), conv(3, 3, 1), conv(3, 5, 1)).to("meta")
    with pytest.raises(UserError) as refusal:
        sparsify(net, "sparse_wide", 0.2, X)
    said = str(refusal.value)
    if "no sparsity can" not in said:
        near = float(said.split()[-1])
        assert abs(sparsify(net, "sparse_wide", near, X)[1].ratio - 1) < 1e-2


def test_the_refusal_of_a_network_without_hidden_layers_has_no_meaningless_number() -> None:
    with pytest.raises(UserError) as refusal:
        sparsify(nn.Linear(4, 4), "sparse_wide", 0.75, torch.empty(2, 4))
    assert "1/0" not in str(refusal.value)
    assert "1.00" not in str(refusal.value)


class Own(nn.Module):
    def __init__(self, **parts: nn.Module):
        super().__init__()
        self.stem, self.end = conv(3, 8), conv(8, 2)
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x):
        return self.end(self.middle(self.stem(x)))


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        return x * self.gamma


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        t = x.flatten(2).transpose(1, 2)
        return self.attn(t, t, t)[0].transpose(1, 2).view_as(x)


class Constant(nn.Module):
    def forward(self, x):
        return x.view(len(x), 8, 64).unflatten(2, (8, 8))


class Padded(nn.Module):
    def forward(self, x):
        return x + F.pad(x[:, :4], (0, 0, 0, 0, 0, 4))


UNUSUAL = {  # networks, and the module that a refusal names
    "a parameter of its own": (Own(middle=Scale()), "middle"),
    "attention": (Own(middle=Attention()), r"middle\.attn"),
    "a constant in a reshape": (Own(middle=Constant()), "stem|middle"),
    "a constant in a padding": (Own(middle=Padded()), "stem|middle"),
    "a norm over all of an image": (Own(middle=nn.LayerNorm([8, 8, 8])), "middle"),
}


@pytest.mark.parametrize(("net", "said"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_cannot_be_widened_is_refused_by_name(net: nn.Module, said: str) -> None:
    before, x = shapes(net), torch.randn(2, 3, 8, 8)
    try:
        new = transform(net, "sparse_wide", 0.75, x)
    except UserError as refusal:
        assert re.search(said, str(refusal))
        assert "\n" not in str(refusal)
    else:
        assert new.stem.out_channels == 16
        assert new(x).shape == (2, 2, 8, 8)
    assert shapes(net) == before


def test_a_layer_that_does_not_run_with_the_example_is_refused() -> None:
    """Such as an auxiliary head: the width of its input is unknown."""
    with pytest.raises(UserError, match="aux"):
        transform(Own(middle=nn.ReLU(), aux=nn.Linear(8, 2)), "sparse_wide", 0.75, X)


def test_attention_never_silently_mixes_tokens_and_channels() -> None:
    """With constants in its reshape, a network twice as wide could run on twice as many tokens of half the width."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Linear(3, 8), nn.Linear(8, 4)
            self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
            self.tokens = []

        def forward(self, x):
            batch, tokens, _ = x.shape
            x = self.stem(x)
            q, k, v = (layer(x).view(batch, -1, 2, 4).transpose(1, 2) for layer in (self.q, self.k, self.v))
            self.tokens.append(q.shape[2])
            x = (q @ k.transpose(2, 3)).softmax(-1) @ v
            return self.head(self.o(x.transpose(1, 2).reshape(batch, tokens, -1)))

    x = torch.randn(2, 5, 3)
    try:
        new = transform(Block(), "sparse_wide", 0.75, x)
    except UserError:
        return
    new(x)
    assert new.tokens[-1] == 5


def test_outputs_are_never_silently_widened() -> None:
    """The output of the network is an object of a class of its own."""

    class Output:
        def __init__(self, logits):
            self.logits = logits

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(conv(3, 8), conv(8, 8), conv(8, 4))

        def forward(self, x):
            return Output(self.layers(x))

    try:
        new = transform(Odd(), "sparse_wide", 0.75, X)
    except UserError:
        return
    assert new(torch.randn(2, 3, 8, 8)).logits.shape == (2, 4, 8, 8)
