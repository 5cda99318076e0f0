"""`transform` and `sparsify` from outside: any network, left untouched, or one clear line why it can't be done."""

import hashlib
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseift import Masks, UserError, sparsify, transform
from sparseift.members import Dense, SparseFactorized
from sparseift.models import resnet18_cifar
from sparseift.sparsity import ERK, BudgetError

from .nets import Net, conv

LOCAL = ["sparse_parallel", "sparse_factorized", "sparse_doped"]
MEMBERS = ["sparse_wide", *LOCAL]
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def plain() -> Net:
    return Net(
        lambda m, x: m.head(F.relu(m.b(F.relu(m.a(F.relu(m.stem(x)))))).mean((2, 3))),
        stem=conv(3, 8), a=conv(8, 8), b=conv(8, 8), head=nn.Linear(8, 5),
    )  # fmt: skip


def fingerprint(net: nn.Module) -> str:
    digest = hashlib.sha256(str(net).encode())
    for name, value in net.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    flags = [(name, p.requires_grad, p.grad is None) for name, p in net.named_parameters()]
    return digest.hexdigest() + str(flags) + str([m.training for m in net.modules()])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_the_dense_network_is_left_untouched(member: str, training: bool) -> None:
    net = resnet18_cifar(10, base_width=4).train(training)
    before = fingerprint(net)
    new, plan = sparsify(net, member, 0.75, X)
    Masks.random(new, plan, seed=0).apply()
    with torch.no_grad():
        for value in new.state_dict().values():
            value.add_(1)
    assert fingerprint(net) == before
    assert {m.training for m in new.modules()} == {training}


@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_a_refusal_leaves_it_untouched_too(member: str) -> None:
    net = plain()
    before = fingerprint(net)
    with pytest.raises(UserError):
        sparsify(net, member, 0.75, X, include=["nothing"])
    assert fingerprint(net) == before


@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_the_result_gives_what_the_dense_network_gives(member: str) -> None:
    """The same shapes, a state dict that loads into another result, and a network that can be copied."""
    net = plain()
    new = transform(net, member, 0.75, X)
    other = transform(net, member, 0.75, X)
    other.load_state_dict(new.state_dict())
    assert new(X).shape == net(X).shape
    torch.testing.assert_close(other(X), new(X), rtol=0, atol=0)


def test_the_dense_member_is_the_network_itself() -> None:
    net = resnet18_cifar(10, base_width=4).eval()
    torch.testing.assert_close(transform(net, "dense", 0.75, X)(X), net(X), rtol=0, atol=0)


@pytest.mark.parametrize("member", MEMBERS)
def test_an_example_s_batch_and_place_do_not_matter(member: str) -> None:
    net = plain()
    plans = [sparsify(net, member, 0.75, example)[1] for example in (X, X[:1], X.to("meta"), torch.empty(7, 3, 8, 8))]
    assert all(plan == plans[0] for plan in plans)


def _tied() -> Net:
    body = nn.Sequential(*(part for _ in range(6) for part in (nn.Linear(8, 8), nn.GELU())))
    head = nn.Linear(8, 11, bias=False)
    table = nn.Embedding(11, 8)
    head.weight = table.weight
    return Net(lambda m, i: {"logits": m.head(m.body(m.table(i)))}, table=table, body=body, head=head)


def _recurrent(m, x):
    h = x.new_zeros(len(x), 8)
    for t in range(x.shape[1]):
        h = torch.tanh(m.cell(torch.cat([m.embed(x[:, t]), h], 1)))
    return m.head(F.relu(m.out(h)))


def _dense_block(m, x):
    h = F.relu(m.stem(x))
    k = F.relu(m.a(h))
    return m.head(torch.cat([h, k, F.relu(m.b(torch.cat([h, k], 1)))], 1))


def _several_inputs(m, x, y, *, scale):
    return m.head(F.relu(m.b(F.relu(m.a(m.stem(x) + m.other(y))))) * scale)


def _several_outputs(m, x):
    h = F.relu(m.a(F.relu(m.stem(x))))
    return {"map": m.map(h), "classes": (m.head(h.mean((2, 3))), None)}


def _switched(m, *, image, flag):
    return m.head(F.relu(m.a(m.stem(image)))) if flag else image


def _called_twice(m, x):
    return m.head(F.relu(m.a(F.relu(m.a(m.stem(x))))))


def _typed(m, x):
    return m.head(F.relu(m.b(F.relu(m.a(m.stem(x).to(m.a.weight.dtype))))))


def _old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


def between(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv(3, 8), *middle, nn.ReLU(), conv(8, 8), conv(8, 2))


SMALL = {"stem": conv(3, 8), "a": conv(8, 8), "head": conv(8, 2, 1)}
CELLS = {"embed": nn.Linear(6, 8), "cell": nn.Linear(16, 8), "out": nn.Linear(8, 8), "head": nn.Linear(8, 3)}
NETWORKS = {
    "functional activations": (plain(), X),
    "several inputs": (
        Net(_several_inputs, stem=conv(3, 8), other=conv(2, 8), a=conv(8, 8), b=conv(8, 8), head=conv(8, 5)),
        ((X, X[:, :2]), {"scale": torch.ones(2, 1, 1, 1)}),
    ),
    "keywords": (Net(_switched, **SMALL), {"image": X, "flag": True}),
    "several outputs": (
        Net(_several_outputs, stem=conv(3, 8), a=conv(8, 8), map=conv(8, 2), head=nn.Linear(8, 5)),
        X,
    ),
    "the type of a weight": (Net(_typed, stem=conv(3, 8), a=conv(8, 8), b=conv(8, 8), head=conv(8, 2)), X),
    "a module called twice": (Net(_called_twice, **SMALL), X),
    "recurrent": (Net(_recurrent, **CELLS), torch.randn(2, 4, 6)),
    "tied to an embedding": (_tied(), torch.zeros(2, 5, dtype=torch.long)),
    "transposed": (between(nn.ConvTranspose2d(8, 8, 2, stride=2)), X),
    "attention": (
        nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 4)),
        X[:, 0],
    ),
    "a dense block": (Net(_dense_block, stem=conv(3, 8), a=conv(8, 4), b=conv(12, 4), head=conv(16, 2)), X),
    "weight norm": (between(nn.utils.parametrizations.weight_norm(conv(8, 8))), X),
    "old weight norm": (between(_old_weight_norm(conv(8, 8))), X),
    "spectral norm": (between(nn.utils.parametrizations.spectral_norm(conv(8, 8))), X),
    "old spectral norm": (between(nn.utils.spectral_norm(conv(8, 8))), X),
    "a norm over an image": (between(conv(8, 8), nn.LayerNorm([8, 8, 8])), X),
    "a norm over a row": (between(conv(8, 8), nn.LayerNorm(8)), X),
}
REFUSALS = {  # what may be refused, by the name of a module
    ("sparse_wide", "tied to an embedding"): "table",
    ("sparse_wide", "attention"): r"1\.self_attn",
    ("sparse_wide", "recurrent"): r"\bcell\b",  # its state is made 8 wide in the forward code
    ("sparse_wide", "weight norm"): r"\b1(: its |\.)weight is computed",
    ("sparse_wide", "old weight norm"): r"\b1(: its |\.)weight is computed",
    ("sparse_wide", "spectral norm"): r"\b1(: its |\.)weight is computed",
    ("sparse_wide", "old spectral norm"): r"\b1(: its |\.)weight is computed",
    ("sparse_wide", "a norm over an image"): r"\b2\b",
    **{(member, "weight norm"): r"\b1\b" for member in LOCAL},
    **{(member, "old weight norm"): r"\b1\b" for member in LOCAL},
    **{(member, "old spectral norm"): r"\b1\.weight is computed" for member in LOCAL},  # once it has run
    **{(member, "a norm over an image"): r"\b1\b|\b2\b" for member in LOCAL},
    **{(member, "a norm over a row"): r"\b1\b|\b2\b" for member in LOCAL},
}


def leaves(output) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(output) if leaf is not None]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("case", NETWORKS)
def test_networks_as_people_write_them_work_or_are_refused_by_name(case: str, member: str) -> None:
    net, example = NETWORKS[case]
    said = REFUSALS.get((member, case))
    try:
        new, plan = sparsify(net, member, 0.75, example)
    except UserError as refusal:
        assert said is not None, refusal
        assert "\n" not in str(refusal)
        with pytest.raises(UserError, match=said):
            raise
        return
    Masks.random(new, plan, seed=0).apply()
    assert plan.masked and plan.ratio == pytest.approx(1, abs=0.02)  # tiny layers: one weight counts

    args, kwargs = (
        example if isinstance(example, tuple) else ((), example) if isinstance(example, dict) else ((example,), {})
    )
    out = leaves(new(*args, **kwargs))
    assert [t.shape for t in out] == [t.shape for t in leaves(net(*args, **kwargs))]
    sum(t.square().sum() for t in out).backward()
    assert {name for name, p in new.named_parameters() if p.grad is None} == set()


@pytest.mark.parametrize("member", MEMBERS)
def test_a_layer_under_two_names_stays_one_layer(member: str) -> None:
    shared = conv(8, 8)
    net = Net(
        lambda m, x: m.head(F.relu(m.second(F.relu(m.first(m.stem(x)))))), stem=conv(3, 8), first=shared, second=shared,
        head=conv(8, 2),
    )  # fmt: skip
    try:
        new, plan = sparsify(net, member, 0.75, X)
    except UserError:
        return
    assert new.first is new.second
    assert {layer.name for layer in plan.layers if not layer.masked and "low_rank" not in layer.name} == {
        "stem",
        "head",
    }


@pytest.mark.parametrize("member", LOCAL)
def test_layers_that_share_a_weight_go_on_sharing_it(member: str) -> None:
    net = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    net[2].weight = net[1].weight
    new, plan = sparsify(net, member, 0.75, torch.randn(2, 8))
    assert new[2].weight is new[1].weight
    assert {"1", "2"} & set(plan.masked) == {"1"}
    assert plan.masked["1"].flops_per_weight == 4
    assert plan.ratio == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("sparsity", [0, 1, -0.5, 1.5, 75, float("nan"), float("inf"), 0.0, 1.0])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_a_sparsity_outside_0_and_1_is_refused(member: str, sparsity: float) -> None:
    with pytest.raises(UserError, match=r"sparsity .*outside \(0, 1\)") as refusal:
        sparsify(plain(), member, sparsity, X)
    assert str(sparsity) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("sparsity", [1e-12, 1e-7, 1 - 1e-7, 1 - 1e-12])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_a_sparsity_next_to_0_or_1_works_or_is_refused(member: str, sparsity: float) -> None:
    if member == "sparse_parallel" and sparsity > 0.5:
        pytest.skip("millions of branches: what was asked for, but more than a test can build")
    try:
        plan = sparsify(plain().to("meta"), member, sparsity, X)[1]
    except UserError as refusal:
        assert "\n" not in str(refusal)
    else:
        assert all(layer.active >= 1 for layer in plan.layers)


@pytest.mark.parametrize("name", ["sparse_wid", "wide", "SparseWide", "member", "exact", "", "_", "dense "])
def test_an_unknown_member_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match=r"member.*dense, sparse_wide, .*sparse_doped"):
        transform(plain(), name, 0.75, X)


def test_members_can_be_instances_with_options() -> None:
    assert not any(
        isinstance(m, nn.ReLU) for m in transform(plain(), SparseFactorized(activation=False), 0.5, X).modules()
    )
    assert str(transform(plain(), Dense(), 0.5, X)) == str(plain())


def heavy_ends() -> nn.Sequential:
    """Its first layer costs more than the rest together, so that no network four times as wide meets the budget."""
    return nn.Sequential(conv(3, 64, 3), nn.ReLU(), conv(64, 64, 1), nn.ReLU(), conv(64, 4, 1)).to("meta")


CASES = [
    ("sparse_wide", 0.9), ("sparse_wide", 0.95), ("sparse_wide", 0.99), ("sparse_doped", 0.01), ("sparse_doped", 0.001),
]  # fmt: skip


@pytest.mark.parametrize(("member", "sparsity"), CASES)
def test_an_impossible_budget_is_refused_with_the_nearest_that_works(member: str, sparsity: float) -> None:
    net = heavy_ends()
    with pytest.raises(BudgetError, match=r"nearest sparsity that works is 0\.\d+$") as refusal:
        sparsify(net, member, sparsity, X)
    assert "\n" not in str(refusal.value)
    near = float(str(refusal.value).split()[-1])
    assert abs(sparsify(net, member, near, X)[1].ratio - 1) < 1e-3
    for percent in range(1, 100):  # nothing is nearer
        if abs(percent / 100 - sparsity) < abs(near - sparsity) - 1e-9:
            with pytest.raises(UserError):
                sparsify(net, member, percent / 100, X)


def test_the_nearest_is_found_for_the_distribution_and_the_layers_asked_for() -> None:
    net, options = (
        heavy_ends(),
        {"distribution": ERK(), "include": ["0"]},
    )  # with its first layer sparse it can be much wider
    with pytest.raises(BudgetError, match=r"nearest sparsity that works is 0\.99$"):
        sparsify(net, "sparse_wide", 0.999, X, **options)
    assert abs(sparsify(net, "sparse_wide", 0.99, X, **options)[1].ratio - 1) < 1e-3
    with pytest.raises(BudgetError):
        sparsify(net, "sparse_wide", 0.99, X, ERK())


def test_where_no_sparsity_meets_the_budget_it_says_so() -> None:
    """One more column of the two layers that stay dense costs more than the masked one has to give."""
    sizes = (64, 64, 64, 64, 1, 64)
    net = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(sizes))).to("meta")
    with pytest.raises(BudgetError, match="the layers that stay dense cost") as refusal:
        sparsify(net, "sparse_wide", 0.75, torch.empty(2, 64), exclude=["1", "2"])
    assert "no sparsity can" in str(refusal.value)


class Contained(nn.Module):
    """Its two middle layers are attributes, and stand in a container of plain Python that it may run them from."""

    def __init__(self, contain, layers=None):
        super().__init__()
        self.stem, self.b, self.c, self.head = conv(3, 8), conv(8, 8), conv(8, 8), conv(8, 2)
        self.contained = contain(self.b, self.c)
        self.layers = layers or (lambda contained: contained)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for layer in self.layers(self.contained):
            x = F.relu(layer(x))
        return self.head(x)


CONTAINERS = {
    "list": Contained(lambda b, c: [b, c]),
    "tuple": Contained(lambda b, c: (b, c)),
    "dict": Contained(lambda b, c: {"b": b, "c": c}, dict.values),
    "with numbers": Contained(lambda b, c: [(b, 8), (c, 8)], lambda pairs: [layer for layer, _ in pairs]),
    "nested": Contained(lambda b, c: {"both": [(b, "relu"), (c, None)]}, lambda all: [pair[0] for pair in all["both"]]),
}


@pytest.mark.parametrize("member", ["dense", *MEMBERS])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_layers_in_plain_containers_are_those_of_the_result(kind: str, member: str) -> None:
    """It is what one whose code takes the attributes becomes: the same plan, values, and gradients."""
    net = CONTAINERS[kind]
    plain = Net(lambda m, x: m.head(F.relu(m.c(F.relu(m.b(F.relu(m.stem(x))))))), **dict(net.named_children()))
    torch.manual_seed(0)
    new, plan = sparsify(net, member, 0.75, X)
    torch.manual_seed(0)
    expected, expected_plan = sparsify(plain, member, 0.75, X)
    assert plan == expected_plan
    Masks.random(new, plan, seed=0).apply()
    Masks.random(expected, plan, seed=0).apply()
    torch.testing.assert_close(new(X), expected(X))
    new(X).sum().backward()
    assert all(parameter.grad is not None for parameter in new.parameters())


@pytest.mark.parametrize("member", MEMBERS)
def test_a_container_that_the_code_does_not_use_holds_the_layers_of_the_result_too(member: str) -> None:
    net = Net(lambda m, x: m.head(F.relu(m.b(F.relu(m.stem(x))))), stem=conv(3, 8), b=conv(8, 8), head=conv(8, 2))
    net.unused, net.sizes = [net.b, net.head], [8, [8, "same"]]
    new = transform(net, member, 0.75, X)
    assert new.unused[0] is new.b and new.unused[1] is new.head
    assert net.unused[0] is net.b
    assert new(X).shape == (2, 2, 8, 8)


def test_attention_that_runs_from_a_list_is_unpacked_there_too() -> None:
    net = Net(lambda m, x: m.head(m.run_from[0](h := m.stem(x), h, h)[0]), stem=nn.Linear(8, 8), head=nn.Linear(8, 3))
    net.attention = nn.MultiheadAttention(8, 2, batch_first=True)
    net.run_from, x = [net.attention], torch.randn(2, 5, 8)
    new, plan = sparsify(net, "dense", 0.5, x)
    assert plan.masked.keys() == {f"attention.{part}" for part in ("query", "key", "value", "out_proj")}
    torch.testing.assert_close(new(x), net(x))


class Holder:
    def __init__(self, *layers: nn.Module):
        self.layers = layers


@pytest.mark.parametrize("member", LOCAL)
def test_a_layer_held_where_no_replacement_can_be_put_is_refused_by_name(member: str) -> None:
    net = Contained(Holder, lambda holder: holder.layers)
    with pytest.raises(UserError, match=r"^b\b.* does not run in the transformed network"):
        sparsify(net, member, 0.75, X)
    new, plan = sparsify(net, "sparse_wide", 0.75, X)  # which changes layers where they are
    assert plan.ratio == pytest.approx(1, abs=1e-3) and new(X).shape == net(X).shape


def test_recurrent_layers_that_keep_their_width_are_left_as_they_are_and_others_refused() -> None:
    x = torch.randn(2, 4, 6)
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        rest = (part for _ in range(3) for part in (nn.Linear(8, 8), nn.ReLU()))
        net = Net(lambda m, x: m.rest(m.cells(x)[0]), cells=kind(6, 8, batch_first=True), rest=nn.Sequential(*rest))
        net.rest.append(nn.Linear(8, 3))
        new, plan = sparsify(net, "sparse_wide", 0.75, x)
        torch.testing.assert_close(new.cells(x)[0], net.cells(x)[0], rtol=0, atol=0)
        widths = [(16, 8), (16, 16), (16, 16), (3, 16)]
        assert [tuple(layer.weight.shape) for layer in new.rest[::2]] == widths and new(x).shape == (2, 4, 3)
        assert plan.masked.keys() == {"rest.2", "rest.4"} and plan.ratio == pytest.approx(1, abs=0.02)

        body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        late = Net(lambda m, x: m.head(m.cells(m.body(x))[0]), body=body, cells=kind(8, 8), head=nn.Linear(8, 3))
        with pytest.raises(UserError, match=rf"can't widen cells \({kind.__name__}\)"):
            sparsify(late, "sparse_wide", 0.75, x)


@pytest.mark.parametrize("sparsity", ["0.5", None, torch.tensor(0.5), [0.5], 0.5j])
@pytest.mark.parametrize("member", ["dense", "sparse_wide"])
def test_a_sparsity_that_is_no_number_is_refused(member: str, sparsity) -> None:
    with pytest.raises(UserError, match=f"sparsity is of type {type(sparsity).__name__}; a number .* is meant$"):
        sparsify(plain(), member, sparsity, X)


@pytest.mark.parametrize("sparsity", [Fraction(3, 4), np.float64(0.75), np.float32(0.75)])
def test_every_kind_of_number_is_a_sparsity(sparsity) -> None:
    assert sparsify(plain(), "sparse_wide", sparsity, X)[1] == sparsify(plain(), "sparse_wide", 0.75, X)[1]


@pytest.mark.parametrize("member", [None, 3, object(), lambda *_: [], SparseFactorized, nn.ReLU()])
def test_what_is_no_member_is_refused(member) -> None:
    with pytest.raises(UserError, match=r"^the member is .*; a name such as 'sparse_wide' is meant.*instance"):
        transform(plain(), member, 0.75, X)


def _scripted(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net)


def _lazy(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return nn.Sequential(net, nn.LazyConv2d(8, 1))


WITHOUT_CODE = {"script": (_scripted, "then script"), "compile": (torch.compile, "then call torch.compile")}


@pytest.mark.parametrize("member", ["dense", "sparse_wide", "sparse_doped"])
@pytest.mark.parametrize("kind", WITHOUT_CODE)
def test_a_compiled_network_is_refused_with_what_to_do(kind: str, member: str) -> None:
    made, said = WITHOUT_CODE[kind]
    block = nn.Sequential(conv(8, 8), nn.ReLU())
    for net in (between(made(block)), made(between(block))):
        with pytest.raises(UserError, match=f"transform the network first, {said}"):
            sparsify(net, member, 0.75, X)


@pytest.mark.parametrize("member", ["dense", "sparse_wide", "sparse_doped"])
def test_a_lazy_layer_is_refused_until_it_has_shapes(member: str) -> None:
    net = between(_lazy(nn.Sequential(conv(8, 8), nn.ReLU())))
    with pytest.raises(UserError, match=r"^1\.1 is a lazy layer .* run the network once"):
        sparsify(net, member, 0.75, X)
    net(X)
    assert sparsify(net, member, 0.75, X)[1].masked


def test_without_a_layer_to_mask_it_says_so() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64)).to("meta")
    with pytest.raises(UserError, match="no layer is eligible"):
        sparsify(net, "sparse_wide", 0.75, torch.empty(2, 64), exclude="1")
