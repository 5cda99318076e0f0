"""Weights that are multiplied outside of layers: counted as torch's counter counts them, or made layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sparseift import Masks, UserError, forward_flops, sparsify
from sparseift.graph.flops import layer_costs
from sparseift.graph.recorder import trace

from ..nets import MEMBERS, Net

TOKENS = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))


def counted(net: nn.Module, *inputs: Tensor) -> int:
    """FLOPs of one sample by torch's own counter."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(*inputs)
    return counter.get_total_flops() // len(inputs[0])


class Conv1D(nn.Module):
    """The linear layer of GPT-2 in Hugging Face's transformers: its weight is (in, out)."""

    def __init__(self, nf: int, nx: int):
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        size_out = (*x.size()[:-1], self.nf)
        x = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return x.view(size_out)


class Product(nn.Module):
    """A module with a weight (in, out) and a function."""

    def __init__(self, function, inputs: int, outputs: int, transposed: bool = False):
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.randn((outputs, inputs) if transposed else (inputs, outputs)) / inputs**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.w)


def product(function, transposed: bool = False):
    return lambda inputs, outputs: Product(function, inputs, outputs, transposed)


LINEAR = {
    "Conv1D": lambda inputs, outputs: Conv1D(outputs, inputs),
    "matmul": product(torch.matmul),
    "@": product(lambda x, w: x @ w),
    "einsum": product(lambda x, w: torch.einsum("...i,io->...o", x, w)),
    "einsum, transposed": product(lambda x, w: torch.einsum("...i,oi->...o", x, w), transposed=True),
    "F.linear": product(F.linear, transposed=True),
    "tensordot": product(lambda x, w: torch.tensordot(x, w, dims=1)),
    "mm": product(lambda x, w: torch.mm(x.flatten(0, -2), w).unflatten(0, x.shape[:-1])),
}


def network(kind) -> nn.Sequential:
    ends = nn.Linear(32, 64), nn.Linear(64, 5)
    return nn.Sequential(
        ends[0], nn.ReLU(), kind(64, 48), nn.ReLU(), kind(48, 64), nn.ReLU(), nn.Linear(64, 64), ends[1]
    )


@pytest.mark.parametrize("name", LINEAR)
def test_modules_of_a_linear_function_become_linear_layers(name: str) -> None:
    torch.manual_seed(0)
    net = network(LINEAR[name])
    new, plan = sparsify(net, "dense", 0.5, TOKENS)
    assert plan.masked.keys() == {"2", "4", "6"}
    assert [tuple(new[place].weight.shape) for place in (2, 4)] == [(48, 64), (64, 48)]
    torch.testing.assert_close(new(TOKENS), net(TOKENS))
    assert plan.budget == counted(net, TOKENS) == forward_flops(net, TOKENS)


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("name", ["Conv1D", "einsum"])
def test_members_meet_the_true_budget_with_them(name: str, member: str) -> None:
    net = network(LINEAR[name])
    new, plan = sparsify(net, member, 0.75, TOKENS)
    Masks.random(new, plan, seed=0).apply()
    silent = plan.forward_stored - plan.forward
    assert counted(new, TOKENS) - silent == pytest.approx(counted(net, TOKENS), rel=1e-3)
    assert new(TOKENS).shape == (2, 6, 5)


def test_a_converted_module_keeps_its_numbers_and_whether_it_is_trained() -> None:
    net = network(LINEAR["Conv1D"])
    net[2].weight.requires_grad_(False)
    new, _ = sparsify(net, "dense", 0.5, TOKENS)
    assert (new[2].nf, new[2].nx, new[2].weight.requires_grad, new[2].bias.requires_grad) == (48, 64, False, True)


def _read_elsewhere() -> nn.Module:
    a = Conv1D(64, 64)
    return Net(lambda m, x: m.c(F.relu(m.b(F.relu(m.a(F.relu(m.stem(x))) + m.a.weight.sum())))), stem=nn.Linear(32, 64),
               a=a, b=nn.Linear(64, 64), c=nn.Linear(64, 5))  # fmt: skip


def _tied() -> nn.Module:
    net = network(lambda inputs, outputs: Conv1D(64, 64) if 48 in (inputs, outputs) else nn.Linear(inputs, outputs))
    net[4].weight = net[2].weight
    return net


class Noisy(Conv1D):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if self.training else 1)


class Scaled(Conv1D):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(x) * scale


def _hooked() -> nn.Module:
    net = network(LINEAR["Conv1D"])
    for place in (2, 4):
        net[place].register_forward_hook(lambda module, args, output: output)
    return net


MORE = {
    "read elsewhere": _read_elsewhere,
    "tied": _tied,
    "other in training": lambda: network(lambda inputs, outputs: Noisy(outputs, inputs)),
    "more arguments": lambda: network(lambda inputs, outputs: Scaled(outputs, inputs)),
    "hooks": _hooked,
    "quadratic": lambda: network(product(lambda x, w: (x @ w).square())),
}


@pytest.mark.parametrize("name", MORE)
def test_modules_that_are_more_stay_and_are_counted(name: str) -> None:
    net = MORE[name]()
    new, plan = sparsify(net, "dense", 0.5, TOKENS)
    torch.testing.assert_close(new.eval()(TOKENS), net.eval()(TOKENS))
    assert plan.budget == counted(net, TOKENS)
    assert [type(module) for module in new.modules()] == [type(module) for module in net.modules()]


class Bare(nn.Module):
    """Products with parameters of a network itself. `run` returns the result."""

    def __init__(self, run, *shapes: tuple[int, ...]):
        super().__init__()
        self.run, self.stem, self.head = run, nn.Linear(32, 8), nn.LazyLinear(3)
        self.w = nn.ParameterList(torch.randn(shape) for shape in shapes)
        self(TOKENS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.run(self.stem(x), *self.w))


BARE = {
    "matmul": Bare(lambda x, w: x @ w, (8, 7)),
    "matmul from the left": Bare(lambda x, w: w @ x, (5, 6)),
    "batched": Bare(lambda x, w: (x.unflatten(-1, (2, 4)).transpose(1, 2) @ w).flatten(1), (2, 4, 3)),
    "transposed": Bare(lambda x, w: x @ w.t(), (7, 8)),
    "a part": Bare(lambda x, w: x @ w[:, :3], (8, 7)),
    "two parts": Bare(lambda x, w: torch.cat([x @ w[:, :3], x @ w[:, 3:]], -1), (8, 7)),
    "the same twice": Bare(lambda x, w: x @ w + torch.tanh(x) @ w, (8, 8)),
    "computed": Bare(lambda x, w: x @ (w / w.norm()), (8, 7)),
    "einsum": Bare(lambda x, w: torch.einsum("nld,dhk->nlhk", x, w).flatten(2), (8, 2, 3)),
    "einsum with an ellipsis": Bare(lambda x, w: torch.einsum("...d,...dk->...k", x, w), (6, 8, 3)),
    "addmm": Bare(lambda x, w, b: torch.addmm(b, x.flatten(0, 1), w).view(*x.shape[:2], -1), (8, 7), (7,)),
    "baddbmm": Bare(lambda x, w, b: torch.baddbmm(b, x, w.expand(len(x), 8, 7)), (8, 7), (1, 1, 7)),
    "bmm": Bare(lambda x, w: torch.bmm(x, w.expand(len(x), 8, 7)), (8, 7)),
    "conv": Bare(lambda x, w: F.conv1d(x.mT, w, padding=1).mT, (5, 8, 3)),
    "grouped conv": Bare(lambda x, w: F.conv1d(x.mT, w, groups=2).mT, (4, 4, 3)),
    "transposed conv": Bare(lambda x, w: F.conv_transpose1d(x.mT, w, stride=2).mT, (8, 5, 3)),
}


@pytest.mark.parametrize("name", BARE)
def test_products_with_parameters_are_counted_as_torch_counts_them(name: str) -> None:
    net = BARE[name]
    assert forward_flops(net, TOKENS) == counted(net, TOKENS[:1])
    names = {cost.name for cost in layer_costs(trace(net, TOKENS)).values()} - {"stem", "head"}
    assert names and all(name.startswith("w.0") for name in names)


def test_a_bilinear_layer_is_counted_by_its_formula() -> None:
    """Each output sums over all pairs of inputs; torch's counter leaves it out."""
    net = Net(lambda m, x: m.b(m.a(x), m.a(x)), a=nn.Linear(32, 4), b=nn.Bilinear(4, 4, 5))
    assert forward_flops(net, TOKENS) == 2 * 6 * (2 * 32 * 4 + 4 * 4 * 5)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers_are_counted_by_their_formula(kind, gates: int, directions: int) -> None:
    net = Net(lambda m, x: m.b(m.a(x)[0]), b=nn.Linear(directions * 8, 5),
              a=kind(32, 8, num_layers=2, batch_first=True, bidirectional=directions == 2))  # fmt: skip
    steps = sum(gates * 8 * (inputs + 8) for inputs in (32, directions * 8)) * directions
    assert forward_flops(net, TOKENS) == 2 * 6 * (steps + directions * 8 * 5)


def test_a_weight_of_a_layer_that_other_code_multiplies_by_belongs_to_the_layer() -> None:
    net = Net(lambda m, x: m.c(F.relu(m.b(x := F.relu(m.a(x))) @ m.b.weight + x @ m.b.weight[:4].T @ m.b.weight[:4])),
              a=nn.Linear(32, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 5))  # fmt: skip
    costs = layer_costs(trace(net, TOKENS))
    assert sum(cost.flops for cost in costs.values()) == counted(net, TOKENS)
    assert costs["b"].flops_per_weight == 2 * 2 * 6
    assert costs.keys() == {"a", "b", "c", "b.weight", "b.weight 4x8"}  # the parts are 8x4 and 4x8


class LoRA(nn.Linear):
    def __init__(self, inputs: int, outputs: int, rank: int = 4):
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(rank, inputs)), nn.Parameter(torch.randn(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.linear(F.linear(x, self.down), self.up)


def test_other_weights_of_a_layer_are_not_taken_for_its_weight() -> None:
    net = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), LoRA(32, 32), nn.ReLU(), nn.Linear(32, 5))
    _new, plan = sparsify(net, "dense", 0.5, TOKENS)
    assert plan.budget == counted(net, TOKENS)
    assert [layer.name for layer in plan.layers] == ["0", "2", "4", "2.down", "2.up"]
    assert plan.masked.keys() == {"2"}


class Hidden(nn.Module):
    """A network whose middle layers are not registered."""

    def __init__(self):
        super().__init__()
        self.stem, self.hidden, self.head = nn.Linear(32, 16), [nn.Linear(16, 16)], nn.Linear(16, 3)
        self.more = nn.Sequential(nn.Linear(16, 16), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.more(self.hidden[0](self.stem(x))))


class Makes(nn.Module):
    """A network that makes a layer in its first run."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Sequential(nn.Linear(32, 16), nn.Linear(16, 16)), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "made"):
            self.made = nn.Linear(16, 16, device=x.device)
        return self.head(self.made(self.stem(x)))


REFUSED = {
    "not registered": (Hidden, r"^the network \(Hidden\) computes with a parameter that is not .* nn\.ModuleList"),
    "made": (Makes, r"^the network makes made\.weight in its first run; run it once"),
}


@pytest.mark.parametrize("member", ["dense", *MEMBERS])
@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_cannot_be_counted_are_refused_by_name(name: str, member: str) -> None:
    made, said = REFUSED[name]
    with pytest.raises(UserError, match=said) as refusal:
        sparsify(made(), member, 0.5, TOKENS)
    assert "\n" not in str(refusal.value)
