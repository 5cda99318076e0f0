"""Traces of hand-written networks: order and use of layers, norms and activations after a layer, shortcuts."""

import dataclasses
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from sparseift import UserError
from sparseift.graph.recorder import trace

from ..nets import Net, conv

X = torch.empty(2, 3, 8, 8, device="meta")


def test_layers_come_in_execution_order_not_registration_order() -> None:
    net = Net(
        lambda m, x: m.a(m.c(m.b(x)).mean((2, 3))), a=nn.Linear(8, 5), b=conv(3, 8), c=conv(8, 8), unused=conv(3, 3)
    )
    assert list(trace(net, X).layers) == ["b", "c", "a"]


def test_layers_in_containers_keep_their_path() -> None:
    net = Net(
        lambda m, x: m.end(m.table["k"](m.items[1](m.items[0](x)))),
        end=nn.Sequential(nn.ReLU(), conv(8, 2)),
        items=nn.ModuleList([conv(3, 8), conv(8, 8)]),
        table=nn.ModuleDict({"k": conv(8, 8)}),
    )
    assert list(trace(net, X).layers) == ["items.0", "items.1", "table.k", "end.1"]


def test_positions_count_each_use_of_a_weight_for_one_sample() -> None:
    net = Net(
        lambda m, x: (m.up(m.twice(m.twice(m.stem(x)))), m.rows(x)),
        stem=conv(3, 8, stride=2),
        twice=conv(8, 8),
        up=nn.ConvTranspose2d(8, 4, 4, stride=2),
        rows=nn.Linear(8, 5),
    )
    layers = trace(net, X).layers
    assert {name: layer.positions for name, layer in layers.items()} == {
        "stem": 16,
        "twice": 2 * 16,
        "up": 16,  # a transposed convolution uses its weight once for each position of its input
        "rows": 3 * 8,
    }


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_positions_do_not_depend_on_the_batch(batch: int) -> None:
    net = nn.Sequential(conv(3, 8), nn.Flatten(2), nn.Linear(64, 4))
    layers = trace(net, torch.empty(batch, 3, 8, 8)).layers
    assert [layer.positions for layer in layers.values()] == [64, 8]


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_layer_on_a_tensor_without_a_batch_counts_the_same_for_every_batch(batch: int) -> None:
    """Such as the table of relative positions of a Swin-v2 block, which does not depend on the batch."""
    net = Net(
        lambda m, x: m.stem(x) + m.table(torch.ones(3, 4, device=x.device) + 0 * x.mean())[..., None, None].mean(0),
        stem=conv(3, 8),
        table=nn.Linear(4, 8),
    )
    assert trace(net, torch.empty(batch, 3, 8, 8)).layers["table"].positions == 3


def test_a_norm_belongs_to_the_layer_that_it_alone_reads() -> None:
    def run(m, x):
        x = m.n1(m.a(x))
        y = m.b(x)
        z = m.n2(y) + y  # read twice
        z = F.relu(m.c(z))
        z = m.n3(z)  # an activation in between
        z = m.n4(m.d(z)) + m.n4(m.e(z))  # a norm that runs twice
        return m.n5(m.f(z))

    norms = {f"n{i}": nn.BatchNorm2d(8) for i in range(1, 6)}
    net = Net(run, a=conv(3, 8), b=conv(8, 8), c=conv(8, 8), d=conv(8, 8), e=conv(8, 8), f=conv(8, 8), **norms)
    record = trace(net, X)
    assert {name: record.norm_after(name) for name in "abcdef"} == {
        "a": "n1", "b": None, "c": None, "d": None, "e": None, "f": "n5",
    }  # fmt: skip


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8), nn.SyncBatchNorm(8)],
    ids=lambda n: str(type(n)),
)
def test_every_norm_over_channels_is_seen(norm: nn.Module) -> None:
    assert trace(nn.Sequential(conv(3, 8), norm, conv(8, 2)), X).norm_after("0") == "1"


def test_layer_norm_after_a_linear_is_seen() -> None:
    net = nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 2))
    assert trace(net, X).norm_after("0") == "1"


def test_a_norm_whose_input_is_also_an_output_is_not_taken() -> None:
    net = Net(lambda m, x: (y := m.a(x), m.b(m.n(y))), a=conv(3, 8), n=nn.BatchNorm2d(8), b=conv(8, 2))
    assert trace(net, X).norm_after("a") is None


ACTIVATION_MODULES = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(0.5), nn.SELU(), nn.CELU(0.5),
    nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Hardtanh(-2, 3), nn.Softplus(2.0), nn.Tanh(),
    nn.PReLU(8, 0.3),
]  # fmt: skip


@pytest.mark.parametrize("module", ACTIVATION_MODULES, ids=str)
def test_an_activation_module_is_seen_with_its_options(module: nn.Module) -> None:
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), module, conv(8, 2))
    found, name = trace(net, X).activation_after("0")
    assert str(found) == str(module)
    assert found is not module
    assert name == "2"


FUNCTIONAL = [
    F.relu, torch.relu, Tensor.relu, lambda x: x.relu_(), torch.tanh, lambda x: x.tanh(), F.gelu, F.silu, F.mish, F.elu,
    F.relu6, F.hardswish, F.softplus, F.leaky_relu, lambda x: x.clone().tanh_(), lambda x: F.relu(x, inplace=True),
    lambda x: F.leaky_relu(x, 0.2), lambda x: F.elu(x, 0.5), lambda x: F.gelu(x, approximate="tanh"),
    lambda x: F.hardtanh(x, -2.0, 3.0), lambda x: F.softplus(x, beta=2.0), lambda x: F.celu(x, alpha=0.5),
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONAL, ids=range(len(FUNCTIONAL)))
def test_a_functional_activation_is_seen_with_its_options(function) -> None:
    net = Net(lambda m, x: m.b(function(m.a(x))), a=conv(3, 8), b=conv(8, 2))
    found, name = trace(net, X).activation_after("a")
    assert name is None
    values = torch.linspace(-4, 4, 33)
    torch.testing.assert_close(found(values.clone()), function(values.clone()))


def test_gates_are_not_activations() -> None:
    net = Net(lambda m, x: m.c(x * torch.sigmoid(m.b(m.a(x)))), a=conv(3, 8), b=conv(8, 3), c=conv(3, 2))
    assert trace(net, X).activation_after("b") == (None, None)


def test_the_last_layer_ends_in_no_activation() -> None:
    net = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 2))
    record = trace(net, X)
    assert isinstance(record.activation_after("0")[0], nn.ReLU)
    assert record.activation_after("2") == (None, None)


def test_the_search_for_an_activation_stops_at_the_next_layer() -> None:
    net = nn.Sequential(conv(3, 8), conv(8, 8), nn.Tanh(), conv(8, 2))
    record = trace(net, X)
    assert record.activation_after("0") == (None, None)
    assert isinstance(record.activation_after("1")[0], nn.Tanh)


def test_an_activation_module_that_runs_twice_is_not_taken_away() -> None:
    act = nn.ReLU()
    net = Net(lambda m, x: m.c(m.act(m.b(m.act(m.a(x))))), a=conv(3, 8), b=conv(8, 8), c=conv(8, 2), act=act)
    record = trace(net, X)
    assert record.activation_after("a")[1] is record.activation_after("b")[1] is None
    assert isinstance(record.activation_after("b")[0], nn.ReLU)


class Block(nn.Module):
    """A residual block. `body` and `shortcut` read the output of `before`."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, before: nn.Module | None = None, inplace: bool = False):
        super().__init__()
        self.before, self.body, self.shortcut, self.inplace = before or nn.Identity(), body, shortcut, inplace

    def forward(self, x):
        x = self.before(x)
        out = self.body(x)
        if self.inplace:
            out += self.shortcut(x)
            return F.relu(out)
        return F.relu(self.shortcut(x) + out)


def _body() -> nn.Sequential:
    return nn.Sequential(
        conv(8, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4, stride=2), nn.ReLU(), conv(4, 16, 1), nn.BatchNorm2d(16)
    )


SHORTCUTS = {
    "strided": nn.Sequential(conv(8, 16, 1, stride=2), nn.BatchNorm2d(16)),
    "resnet_d": nn.Sequential(nn.AvgPool2d(2), conv(8, 16, 1), nn.BatchNorm2d(16)),
    "bare": conv(8, 16, 1, stride=2),
    "pooled_after": nn.Sequential(conv(8, 16, 1), nn.MaxPool2d(2)),
}


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("before", [None, nn.Sequential(nn.BatchNorm2d(8), nn.ReLU())], ids=["post", "pre"])
@pytest.mark.parametrize("shortcut", SHORTCUTS.values(), ids=SHORTCUTS)
def test_projection_shortcuts_differ_from_other_pointwise_layers(shortcut, before, inplace: bool) -> None:
    net = nn.Sequential(conv(3, 8), Block(_body(), shortcut, before, inplace), nn.Flatten(), nn.Linear(256, 5))
    record = trace(net, X)
    assert len(record.layers) == 6
    for name in record.layers:
        assert record.is_projection(name) == name.startswith("1.shortcut"), name


def test_a_preactivation_block_whose_shortcut_skips_the_preactivation() -> None:
    def run(m, x):
        x = m.stem(x)
        return m.head(m.short(x) + m.b(F.relu(m.n2(m.a(F.relu(m.n1(x)))))))

    net = Net(
        run, stem=conv(3, 8), n1=nn.BatchNorm2d(8), a=conv(8, 8, 1), n2=nn.BatchNorm2d(8), b=conv(8, 16, 1),
        short=conv(8, 16, 1), head=conv(16, 2),
    )  # fmt: skip
    record = trace(net, X)
    assert [name for name in record.layers if record.is_projection(name)] == ["short"]


def test_linear_shortcuts_of_a_residual_mlp() -> None:
    net = Net(
        lambda m, x: m.head(m.short(x := m.stem(x)) + m.b(F.gelu(m.a(x)))),
        stem=nn.Linear(8, 6), a=nn.Linear(6, 6), b=nn.Linear(6, 4), short=nn.Linear(6, 4), head=nn.Linear(4, 2),
    )  # fmt: skip
    record = trace(net, X)
    assert [name for name in record.layers if record.is_projection(name)] == ["short"]


def test_identity_shortcuts_gates_and_attention_have_no_projection() -> None:
    def run(m, x):
        x = m.stem(x)
        y = m.project(F.relu(m.expand(x)))
        gate = torch.sigmoid(m.excite(F.relu(m.squeeze(y.mean((2, 3), keepdim=True)))))
        x = x + gate * y
        t = x.flatten(2).transpose(1, 2)
        q, k, v = m.q(t), m.k(t), m.v(t)
        t = t + m.o((q @ k.transpose(1, 2)).softmax(-1) @ v)
        return m.head(t + m.fc2(F.silu(m.fc1(t)) * m.gate(t)))

    convs = {"expand": conv(8, 16, 1), "project": conv(16, 8, 1), "squeeze": conv(8, 2, 1), "excite": conv(2, 8, 1)}
    linears = {name: nn.Linear(8, 8) for name in ("q", "k", "v", "o", "fc1", "gate", "fc2", "head")}
    net = Net(run, stem=conv(3, 8), **convs, **linears)
    record = trace(net, X)
    assert [name for name in record.layers if record.is_projection(name)] == []


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 3), ("resnet50", 4), ("mobilenet_v2", 0), ("densenet121", 0), ("efficientnet_b0", 0)],
)
def test_projections_of_torchvision(name: str, count: int) -> None:
    with torch.device("meta"):
        net = getattr(torchvision.models, name)()
    record = trace(net, torch.empty(1, 3, 64, 64))
    assert len([name for name in record.layers if record.is_projection(name)]) == count


def test_output_layers_reach_the_output_without_another_layer_in_between() -> None:
    net = Net(
        lambda m, x: {"y": m.head((y := F.relu(m.b(m.a(x)))).mean((2, 3))), "aux": [m.aux(y).softmax(1)]},
        a=conv(3, 8), b=conv(8, 8), head=nn.Linear(8, 5), aux=conv(8, 2),
    )  # fmt: skip
    assert trace(net, X).output_layers == {"head", "aux"}


def test_all_layers_that_a_residual_sum_adds_to_the_output_are_output_layers() -> None:
    net = Net(lambda m, x: (x := m.a(x)) + m.c(m.b(x)), a=conv(3, 8), b=conv(8, 8), c=conv(8, 8))
    assert trace(net, X).output_layers == {"a", "c"}


def test_tensors_in_an_output_object_are_outputs() -> None:
    @dataclasses.dataclass
    class Output:
        logits: Tensor

    net = Net(lambda m, x: Output(m.b(m.a(x))), a=conv(3, 8), b=conv(8, 2))
    try:
        assert trace(net, X).output_layers == {"b"}
    except UserError as refusal:
        assert "output" in str(refusal).lower()


EXAMPLES = {
    "tensor": (lambda m, x: m.a(x), X),
    "tuple": (lambda m, x, y: m.a(x + y), (X, X)),
    "dict": (lambda m, *, x, scale: m.a(x) * scale, {"x": X, "scale": 2.0}),
    "both": (lambda m, x, *, y: m.a(x + y), ((X,), {"y": X})),
    "nested": (lambda m, x: m.a(x["q"][0]), ({"q": [X]},)),
    "integers": (lambda m, i: m.a(F.one_hot(i, 3).float().permute(0, 3, 1, 2)), torch.zeros(2, 8, 8, dtype=torch.long)),
}


@pytest.mark.parametrize(("run", "example"), EXAMPLES.values(), ids=EXAMPLES)
def test_examples_of_every_form(run, example) -> None:
    assert trace(Net(run, a=conv(3, 8)), example).layers["a"].positions == 64


def _asserts(m, x):
    assert x.shape[1] == 5, "5 channels wanted"
    return m.a(x)


REFUSED = {
    "shape": (lambda m, x: m.a(x), torch.empty(2, 4, 8, 8), "a"),
    "arity": (lambda m, x, y: m.a(x), X, ""),
    "assertion": (_asserts, X, "5 channels wanted"),
    "key": (lambda m, **k: m.a(k["image"]), {"x": X}, "image"),
    "data dependent": (lambda m, x: m.a(x[x.flatten(1).sum(1).isfinite().nonzero()[:, 0]]), X, "nonzero"),
    "attribute": (lambda m, x: m.missing(x), X, "missing"),
    "index": (lambda m, x: m.a([x][1]), X, ""),
    "no samples": (lambda m, x: m.a(x), torch.empty(0, 3, 8, 8), ""),
    "no tensor": (lambda m, x: m.a(torch.ones(2, 3, 8, 8)), 3, ""),
    "no batch": (lambda m, t, x: m.a(x) * t, (torch.tensor(2.0), X), None),
}


@pytest.mark.parametrize(("run", "example", "said"), REFUSED.values(), ids=REFUSED)
def test_an_example_that_does_not_fit_is_refused_in_one_line(run, example, said: str | None) -> None:
    net = Net(run, a=conv(3, 8))
    try:
        record = trace(net, example)
    except UserError as refusal:
        assert "\n" not in str(refusal)
        assert (said or "") in str(refusal)
    else:
        assert said is None  # it is as well to make sense of it
        assert record.layers["a"].positions == 64


def test_the_refusal_names_the_module_that_failed() -> None:
    net = nn.Sequential(conv(3, 8), nn.Sequential(nn.ReLU(), conv(7, 2)))
    with pytest.raises(UserError, match=r"3, 8, 8\).*\b1\.1\b"):
        trace(net, X)


def test_a_network_is_traced_untouched() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.Dropout(), conv(8, 2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    record = trace(net, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training and all(module.training for module in net.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert record.layers["0"].module is net[0]


def test_a_fault_of_the_recorder_is_not_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_):
        raise KeyError("ours")

    monkeypatch.setattr("sparseift.graph.recorder.layers_by_weight", lambda net: {})
    monkeypatch.setattr("sparseift.graph.recorder.Layer", fault)
    with pytest.raises(KeyError, match="ours"):
        trace(nn.Sequential(nn.Linear(2, 2)), torch.empty(1, 2))


def test_a_module_that_raises_is_left_behind() -> None:
    """The network catches the exception, and runs a function of a layer itself."""

    def run(m, x):
        with suppress(RuntimeError):
            m.broken(x)
        return F.conv2d(x, m.a.weight)

    record = trace(Net(run, broken=nn.Sequential(conv(5, 5)), a=conv(3, 8, 1)), X)
    assert list(record.layers) == ["a"]


def test_an_exception_is_that_of_the_module_that_raised_it() -> None:
    def run(m, x):
        with suppress(RuntimeError):
            m.broken(x)
        return m.parts(x)

    with pytest.raises(UserError, match=r"3, 8, 8\): parts\.1: "):
        trace(Net(run, broken=conv(5, 5), parts=nn.Sequential(conv(3, 8), conv(5, 8))), X)


def test_a_hook_before_the_network_may_call_layers() -> None:
    net = Net(lambda m, x: m.b(x), a=conv(3, 8), b=conv(8, 2))
    net.register_forward_pre_hook(lambda m, args: (F.conv2d(args[0], m.a.weight, padding=1),))
    assert list(trace(net, X).layers) == ["a", "b"]


def test_outputs_may_refer_to_themselves() -> None:
    class Output:
        def __init__(self, y: Tensor):
            self.y, self.same = y, self

    assert trace(Net(lambda m, x: Output(m.a(x)), a=conv(3, 8)), X).output_layers == {"a"}
