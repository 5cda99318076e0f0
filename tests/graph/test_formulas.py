"""Activations that a network writes as several calls: all of one is found, a part of one never."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, sparsify
from sparseift.graph.recorder import trace
from sparseift.members import SparseFactorized

from ..nets import Net, X, conv


def hardswish(x: Tensor) -> Tensor:
    return x * F.relu6(x + 3) / 6


def hardswish_in_place(x: Tensor) -> Tensor:
    return F.relu6(x + 3, inplace=True).mul_(x).div_(6)


def mish(x: Tensor) -> Tensor:
    return x * torch.tanh(F.softplus(x))


def gelu(x: Tensor) -> Tensor:
    """As in GPT-2."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


def gelu_by_erf(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


def hard_sigmoid(x: Tensor) -> Tensor:
    return F.relu6(x + 3) / 6


FORMULAS = {
    "hardswish": (hardswish, F.hardswish),
    "hardswish, in place": (hardswish_in_place, F.hardswish),
    "mish": (mish, F.mish),
    "gelu": (gelu, lambda x: F.gelu(x, approximate="tanh")),
    "gelu by erf": (gelu_by_erf, F.gelu),
    "swish": (lambda x: x * torch.sigmoid(x), F.silu),
    "swish with a method": (lambda x: x.sigmoid().mul(x), F.silu),
    "squared relu": (lambda x: torch.relu(x) ** 2, lambda x: x.clamp(min=0).square()),
    "elu + 1": (lambda x: F.elu(x) + 1, lambda x: torch.where(x > 0, x + 1, x.exp())),
    "a relu of a multiple": (lambda x: F.relu(2 * x) * 0.1, F.relu),
}


class Written(nn.Module):
    """A formula as a module, which a network may hold under any name."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("norm", [True, False])
def test_all_of_a_formula_is_the_activation(name: str, norm: bool) -> None:
    """Its values are those of torch's function."""
    formula, expected = FORMULAS[name]
    norms = [nn.BatchNorm2d(8)] if norm else []
    net = Net(lambda m, x: m.b(formula(m.a(x))), a=nn.Sequential(conv(3, 8), *norms), b=conv(8, 2))
    found, place = trace(net, X).activation_after("a.0")
    values = torch.linspace(-6, 6, 97)
    torch.testing.assert_close(found(values.clone()), expected(values))
    assert place is None


@pytest.mark.parametrize("name", FORMULAS)
def test_a_module_that_is_a_formula_moves_into_the_branches(name: str) -> None:
    formula, _ = FORMULAS[name]
    net = nn.Sequential(conv(3, 8), Written(formula), conv(8, 8), nn.BatchNorm2d(8), Written(formula), conv(8, 2))
    new, _ = sparsify(net, "sparse_parallel", 0.75, X)
    assert [type(branch[-1]) for branch in new[2].branches] == [Written] * 4
    assert isinstance(new[3], nn.Identity) and isinstance(new[4], nn.Identity)
    branches = nn.Sequential(*(conv(8, 8) for _ in range(4)))
    for branch, plain in zip(new[2].branches, branches, strict=True):
        plain.load_state_dict(branch.layer.state_dict())
    x = torch.randn(2, 8, 8, 8)
    norms = [branch.norm.eval() for branch in new[2].branches]
    expected = sum(formula(norm(plain(x))) for norm, plain in zip(norms, branches, strict=True))
    torch.testing.assert_close(new[2].eval()(x), expected)


def test_parts_of_a_formula_that_are_modules_are_not_taken_for_it() -> None:
    net = Net(lambda m, x: m.b((h := m.a(x)) * m.r(h + 3) / 6), a=conv(3, 8), b=conv(8, 2), r=nn.ReLU6())
    found, place = trace(net, X).activation_after("a")
    values = torch.linspace(-6, 6, 97)
    torch.testing.assert_close(found(values), F.hardswish(values))
    assert place is None


def squeeze_and_excite(gate):
    def run(m, x):
        x = m.a(x)
        return m.b(F.relu(x * gate(m.excite(F.relu(m.squeeze(x.mean((2, 3))))))[..., None, None]))

    return Net(run, a=conv(3, 8), squeeze=nn.Linear(8, 8), excite=nn.Linear(8, 8), b=conv(8, 2))


GATES = [torch.sigmoid, nn.Sigmoid(), nn.Hardsigmoid(), hard_sigmoid, Written(hard_sigmoid), lambda x: x.softmax(-1)]


@pytest.mark.parametrize("gate", GATES, ids=range(len(GATES)))
def test_neither_a_gate_nor_what_follows_its_product_is_an_activation(gate) -> None:
    record = trace(squeeze_and_excite(gate), X)
    assert record.activation_after("excite") == (None, None)
    assert "relu" in str(record.activation_after("squeeze")[0])
    assert "relu" in str(record.activation_after("a")[0])


@pytest.mark.parametrize("gate", [nn.Hardsigmoid(), Written(hard_sigmoid)], ids=["torch's", "hand-written"])
def test_gates_of_sparse_parallel_close(gate: nn.Module) -> None:
    torch.manual_seed(0)
    net = squeeze_and_excite(gate)
    new, plan = sparsify(net, "sparse_parallel", 0.75, X)
    Masks.random(new, plan, seed=0).apply()
    seen = []
    new.excite.register_forward_hook(lambda module, args, output: seen.append(gate(output)))
    new(5 * torch.randn(256, 3, 8, 8))
    assert seen[0].min() < 0.3


HALVES = {
    "wavenet": lambda h: torch.tanh(h.chunk(2, 1)[0]) * torch.sigmoid(h.chunk(2, 1)[1]),
    "geglu": lambda h: h[:, :4] * F.gelu(h[:, 4:]),
    "lstm": lambda h: torch.sigmoid(h.chunk(4, 1)[0]) * torch.tanh(h.chunk(4, 1)[1]),
}


@pytest.mark.parametrize("name", HALVES)
def test_a_function_of_a_part_of_the_channels_is_no_activation(name: str) -> None:
    parts = HALVES[name](torch.zeros(1, 8, 1, 1)).shape[1]
    net = Net(lambda m, x: m.b(HALVES[name](m.a(x))), a=conv(3, 8), b=conv(parts, 2))
    assert trace(net, X).activation_after("a") == (None, None)


def test_a_crop_is_not_a_part_of_the_channels() -> None:
    """As after the causal convolution of Mamba."""
    net = Net(lambda m, x: m.b(F.silu(m.a(x)[..., :5])), a=conv(3, 8), b=conv(8, 2))
    assert "silu" in str(trace(net, X).activation_after("a")[0])


def test_parts_of_a_hand_written_norm_are_no_activation() -> None:
    def run(m, x):
        h = m.a(x)
        return m.b(F.relu(h * torch.rsqrt(h.pow(2).mean(1, keepdim=True) + 1e-6)))

    assert "relu" in str(trace(Net(run, a=conv(3, 8), b=conv(8, 2)), X).activation_after("a")[0])


class Slopes(nn.Module):
    """A PReLU with a parameter of its own, under a name that nn.PReLU does not use."""

    def __init__(self, channels: int):
        super().__init__()
        self.slopes = nn.Parameter(torch.linspace(0.1, 0.9, channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.slopes)


@pytest.mark.parametrize("act", [Slopes, lambda channels: nn.PReLU(channels)], ids=["own", "torch's"])
@pytest.mark.parametrize("member", ["sparse_parallel", "sparse_factorized", "sparse_doped", "sparse_wide"])
def test_activations_with_a_parameter_have_its_values(member: str, act) -> None:
    net = nn.Sequential(conv(3, 8), act(8), conv(8, 8), act(8), conv(8, 8), act(8), conv(8, 2))
    new, plan = sparsify(net, member, 0.75, X)
    assert not any(tensor.is_meta for tensor in (*new.parameters(), *new.buffers()))
    Masks.random(new, plan, seed=0).apply()
    new(X).square().sum().backward()
    assert {name for name, parameter in new.named_parameters() if parameter.grad is None} == set()


def test_slopes_for_other_channels_repeat_those_of_the_network() -> None:
    net = nn.Sequential(conv(3, 8), Slopes(8), conv(8, 8), Slopes(8), conv(8, 2))
    new, _ = sparsify(net, SparseFactorized(norm=False), 0.75, X)
    slopes = new[2].first.activation.slopes
    assert len(slopes) == len(new[2].first.layer.weight) > 8
    torch.testing.assert_close(slopes[:: len(slopes) // 8][:1], net[3].slopes[:1])
    assert set(slopes.tolist()) == set(net[3].slopes.tolist())


def test_a_prelu_as_a_function_is_left_out_of_the_branches() -> None:
    net = Net(lambda m, x: m.b(F.prelu(m.a(m.stem(x)), m.slope)), stem=conv(3, 8), a=conv(8, 8), b=conv(8, 2))
    net.slope = nn.Parameter(torch.full((8,), 0.3))
    new, _ = sparsify(net, "sparse_parallel", 0.75, X)
    assert [len(branch) for branch in new.a.branches] == [1] * 4
    torch.testing.assert_close(new(X), new.b(F.prelu(new.a(new.stem(X)), net.slope)))
