"""FLOPs against torch's counter, and training FLOPs against the formulas of the paper."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparseift import forward_flops, training_flops
from sparseift.graph.flops import layer_costs
from sparseift.graph.recorder import trace


def counted(net: nn.Module, example: torch.Tensor) -> int:
    """FLOPs of one sample by torch's counter, which counts operators."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(example[:1])
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "mobilenet_v2", "densenet121", "resnext50_32x4d"])
def test_torchvision_networks(name: str) -> None:
    with torch.device("meta"):
        net, x = getattr(torchvision.models, name)(), torch.empty(3, 3, 224, 224)
    assert forward_flops(net, x) == counted(net, x)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet34", 21_797_672, 3_663_761_408),
        ("resnet50", 25_557_032, 4_089_184_256),
    ],
)
def test_published_counts(name: str, parameters: int, macs: int) -> None:
    """torchvision's documentation gives the multiply-accumulates in GFLOPS: 1.81, 3.66, 4.09."""
    with torch.device("meta"):
        net, x = getattr(torchvision.models, name)(), torch.empty(1, 3, 224, 224)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert forward_flops(net, x) == 2 * macs


@st.composite
def convolutions(draw):
    """A convolution of any kind and an example for it."""
    dims = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    kinds = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Conv1d, nn.Conv2d, nn.Conv3d
    kind = kinds[dims - 1 + 3 * draw(st.booleans())]
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    each = st.tuples(*[st.integers(1, 3)] * dims)
    conv = kind(
        inputs, outputs, draw(each), stride=draw(each), padding=draw(st.integers(0, 2)), dilation=draw(each),
        groups=groups, bias=draw(st.booleans()), device="meta",
    )  # fmt: skip
    size = draw(st.tuples(*[st.integers(5, 9)] * dims))
    return conv, torch.empty(draw(st.integers(1, 4)), inputs, *size, device="meta")


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_convolutions_of_every_kind(case) -> None:
    conv, example = case
    try:
        expected = counted(conv, example)
    except RuntimeError:
        assume(False)  # the kernel is larger than the image, or the output would be empty
    assert forward_flops(conv, example) == expected


class Mixed(nn.Module):
    """One to three dimensions, transposed, grouped, dilated; a layer that is called twice, two that share a weight."""

    def __init__(self):
        super().__init__()
        self.two = nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2)
        self.grouped = nn.Conv2d(8, 12, 3, groups=4, padding=1, padding_mode="reflect")
        self.depthwise = nn.Conv2d(12, 12, 5, groups=12, padding="same")
        self.up = nn.ConvTranspose2d(12, 6, 3, stride=2, groups=2, output_padding=1)
        self.three = nn.Conv3d(6, 4, (1, 3, 3), bias=False)
        self.one = nn.Conv1d(4, 10, 3)
        self.again = nn.Linear(10, 10)
        self.twin = nn.Linear(10, 10)
        self.twin.weight = self.again.weight
        self.head = nn.Linear(10, 5)

    def forward(self, x):
        x = self.up(self.depthwise(self.grouped(self.two(x))))
        x = self.three(x.unsqueeze(2)).flatten(2)
        x = self.one(x).transpose(1, 2)
        x = self.twin(F.relu(self.again(F.relu(self.again(x)))))
        return self.head(x.mean(1))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_every_kind_of_layer_and_of_sharing(batch: int) -> None:
    net, x = Mixed(), torch.empty(batch, 3, 12, 12)
    assert forward_flops(net, x) == counted(net, torch.randn(x.shape))


def test_a_shared_weight_has_one_cost_for_all_its_uses() -> None:
    costs = layer_costs(trace(Mixed(), torch.empty(2, 3, 12, 12)))
    assert list(costs) == ["two", "grouped", "depthwise", "up", "three", "one", "again", "head"]
    tokens = 12 * 12 - 2  # what `three` leaves of 14 x 14, less the margin of `one`
    assert costs["again"].flops_per_weight == 2 * 3 * tokens
    assert costs["grouped"].shape == (12, 2, 3, 3)
    assert costs["grouped"].flops == 2 * 36 * 12 * 2 * 9
    assert all(cost.numel == torch.Size(cost.shape).numel() for cost in costs.values())


def test_a_module_under_two_names_has_one_cost() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.ReLU(), layer, nn.Conv2d(8, 2, 1))
    x = torch.randn(2, 3, 6, 6)
    assert forward_flops(net, x) == counted(net, x)
    assert len(layer_costs(trace(net, x))) == 3


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_layers_that_compute_their_weight_have_separate_costs(wrap) -> None:
    net = nn.Sequential(*(wrap(nn.Conv2d(i, o, 3)) for i, o in [(3, 8), (8, 8), (8, 8), (8, 4)]))
    record = trace(net, torch.empty(1, 3, 12, 12))
    assert {name: cost.flops_per_weight for name, cost in layer_costs(record).items()} == {
        str(i): 2 * side**2 for i, side in enumerate((10, 8, 6, 4))
    }


def test_layers_that_do_not_run_cost_nothing() -> None:
    net = nn.Linear(4, 3)
    net.unused = nn.Linear(100, 100)
    assert forward_flops(net, torch.empty(2, 4)) == 24


def test_biases_norms_and_activations_are_not_counted() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 1, bias=True), nn.BatchNorm2d(8), nn.GELU(), nn.AvgPool2d(2))
    assert forward_flops(net, torch.empty(1, 3, 4, 4)) == 2 * 3 * 8 * 16


def test_training_a_dense_or_static_network_costs_three_forward_passes() -> None:
    assert training_flops(forward=10, forward_stored=10, samples=7) == 3 * 10 * 7
    assert training_flops(forward=4, forward_stored=10, samples=7) == 3 * 4 * 7


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(1, 1000), st.integers(1, 50))
def test_rigl_costs_on_average_what_its_paper_says(sparse: int, more: int, interval: int, periods: int) -> None:
    """(3 f_S dT + 2 f_S + f_D) / (dT + 1) per step: dT sparse steps for each one with dense gradients."""
    dense, steps = sparse + more, periods * (interval + 1)
    total = training_flops(sparse, dense, samples=steps, dense_gradient_samples=periods)
    assert total * (interval + 1) == (3 * sparse * interval + 2 * sparse + dense) * steps


def test_overhead_of_rigl_on_the_wide_networks() -> None:
    """Relative to dense training, with updates every 100 steps in 80 % of the steps, where f_S is the budget."""
    for stored, overhead in [(1.973, 0.0026), (3.986, 0.0079), (9.914, 0.0235)]:
        budget, steps = 10**6, 101 * 1000
        total = training_flops(budget, round(stored * budget), steps, dense_gradient_samples=round(0.8 * steps / 101))
        assert total / training_flops(budget, budget, steps) - 1 == pytest.approx(overhead, abs=5e-5)
