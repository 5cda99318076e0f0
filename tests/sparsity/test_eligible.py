"""Eligible layers: all but the first, the last and the depthwise ones, whatever their shapes and names."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from sparseift import UserError, sparsify
from sparseift.graph.recorder import trace
from sparseift.models import resnet18_cifar
from sparseift.sparsity import eligible_layers

from ..nets import MEMBERS

X = torch.empty(2, 3, 8, 8, device="meta")


def conv(inputs: int, outputs: int, kernel: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, device="meta", **options)


class Reversed(nn.Module):
    """A network that registers its layers in the reverse order of their use, under misleading names."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(8, 5, device="meta")
        self.middle = conv(8, 8)
        self.norm_layer = conv(8, 8)
        self.head = conv(3, 8)

    def forward(self, x):
        return self.stem(F.relu(self.middle(F.relu(self.norm_layer(F.relu(self.head(x)))))).mean((2, 3)))


def test_first_and_last_are_those_of_execution() -> None:
    assert eligible_layers(trace(Reversed(), X)) == ["norm_layer", "middle"]


@pytest.mark.parametrize("member", MEMBERS)
def test_first_and_last_stay_dense_in_every_member(member: str) -> None:
    plan = sparsify(Reversed(), member, 0.75, X)[1]
    first, *_, last = plan.layers
    assert (first.name, first.masked, first.density) == ("head", False, 1)
    assert (last.name, last.masked, last.density) == ("stem", False, 1)


def test_the_last_layer_is_the_one_that_ran_last() -> None:
    """`shared` runs second and again at the end."""
    shared = conv(8, 8)
    net = nn.Sequential(conv(3, 8), shared, conv(8, 8), nn.ReLU(), shared)
    assert eligible_layers(trace(net, X)) == ["2"]


@pytest.mark.parametrize("tied", ["first", "last"])
def test_a_weight_that_the_first_or_last_layer_shares_stays_dense(tied: str) -> None:
    net = nn.Sequential(*(nn.Linear(8, 8, device="meta") for _ in range(4)))
    net[1].weight = net[0 if tied == "first" else 3].weight
    plan = sparsify(net, "sparse_parallel", 0.75, X)[1]
    assert {layer.name for layer in plan.layers if layer.masked} == {f"2.branches.{i}.layer" for i in range(4)}


def test_shapes_that_look_like_stems_and_heads_are_masked() -> None:
    """A layer with 100 outputs, one with 3 channels, one with 3 channels per group."""
    net = nn.Sequential(
        conv(3, 12), conv(12, 12, groups=4), conv(12, 100), conv(100, 3), conv(3, 100, 1), nn.Flatten(2),
        nn.Linear(64, 100), nn.Linear(100, 100), nn.Linear(100, 100),
    )  # fmt: skip
    assert eligible_layers(trace(net, X)) == ["1", "2", "3", "4", "6", "7"]


def test_depthwise_layers_are_never_masked_but_grouped_ones_are() -> None:
    net = nn.Sequential(
        conv(3, 12), conv(12, 12, groups=12), conv(12, 24, groups=12), conv(24, 12, groups=12), conv(12, 12, groups=6),
        conv(12, 4),
    )  # fmt: skip
    assert eligible_layers(trace(net, X)) == ["3", "4"]


@cache
def mobilenet() -> nn.Module:
    with torch.device("meta"):
        return torchvision.models.MobileNetV2(inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 1]])


@pytest.mark.parametrize("member", [*MEMBERS, "dense"])
def test_no_depthwise_weight_of_mobilenet_is_masked(member: str) -> None:
    new, plan = sparsify(mobilenet(), member, 0.5, torch.empty(1, 3, 64, 64))
    depthwise = [m for m in new.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert len(depthwise) == 4
    masked = {id(new.get_submodule(name)) for name in plan.masked}
    assert not masked & {id(m) for m in depthwise}
    blocks = {".".join(name.split(".")[:2]) for name in plan.masked}
    assert blocks == {f"features.{i}" for i in range(1, 6)}  # all blocks and the last convolution


def test_sparse_wide_resnet18_has_the_19_tensors_of_the_authors() -> None:
    with torch.device("meta"):
        net = resnet18_cifar(100)
    plan = sparsify(net, "sparse_wide", 0.75, torch.empty(1, 3, 32, 32))[1]
    convs = [f"layer{stage}.{block}.conv{i}" for stage in range(1, 5) for block in range(2) for i in (1, 2)]
    shortcuts = [f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)]
    assert len(plan.masked) == 19
    assert set(plan.masked) == {*convs, *shortcuts}


def test_transposed_convolutions_are_eligible() -> None:
    net = nn.Sequential(conv(3, 8), nn.ConvTranspose2d(8, 8, 2, stride=2, device="meta"), conv(8, 2))
    assert eligible_layers(trace(net, X)) == ["1"]


NAMES = ["head", "norm_layer", "middle", "stem"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["head"], [], ["head", "norm_layer", "middle"]),
        (["*"], [], NAMES),
        ([], ["mid*"], ["norm_layer"]),
        (["stem", "head"], ["n*"], ["head", "middle", "stem"]),
        (["*"], ["*"], []),
        (["s?em"], ["[hm]*"], ["norm_layer", "stem"]),
    ],
)
def test_globs_add_and_remove(include: list[str], exclude: list[str], expected: list[str]) -> None:
    assert eligible_layers(trace(Reversed(), X), include, exclude) == expected


@pytest.mark.parametrize("option", ["include", "exclude"])
@pytest.mark.parametrize("glob", ["midle", "Middle", "", "fc", "head."])
def test_a_glob_that_matches_nothing_is_refused(option: str, glob: str) -> None:
    with pytest.raises(UserError, match=rf"sparsity\.{option}.*'{glob}'.*(head|middle|norm_layer|stem)") as refusal:
        sparsify(Reversed(), "sparse_wide", 0.75, X, **{option: [glob]})
    assert "\n" not in str(refusal.value)


def test_an_included_depthwise_layer_is_masked() -> None:
    net = nn.Sequential(conv(3, 8), conv(8, 8, groups=8), conv(8, 8), conv(8, 4))
    assert eligible_layers(trace(net, X), include=["1"]) == ["1", "2"]


class Standardised(nn.Conv2d):
    """A convolution that standardises its weight before use, so that zeros do not stay zero."""

    def forward(self, x):
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return F.conv2d(x, weight, self.bias, padding=1)


@pytest.mark.parametrize(
    "middle", [Standardised(8, 8, 3), nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1))]
)
def test_a_weight_that_is_computed_before_use_is_not_masked(middle: nn.Module) -> None:
    record = trace(nn.Sequential(conv(3, 8), middle, conv(8, 8), conv(8, 2)), X)
    assert eligible_layers(record) == ["2"]
    with pytest.raises(UserError, match=r"^sparsity\.include is '1'; expected layers that use their weight as it is"):
        eligible_layers(record, include=["1"])
