"""`transform` and `sparsify` on hand-written networks: each works, or is refused with the name of a module."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseift import Masks, UserError, sparsify, transform

from ..nets import LOCAL, MEMBERS, Net, X, between, conv, plain


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
def test_hand_written_networks_work_or_are_refused_by_name(case: str, member: str) -> None:
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
def test_layers_that_share_a_weight_still_share_it(member: str) -> None:
    net = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5)))
    net[2].weight = net[1].weight
    new, plan = sparsify(net, member, 0.75, torch.randn(2, 8))
    assert new[2].weight is new[1].weight
    assert {"1", "2"} & set(plan.masked) == {"1"}
    assert plan.masked["1"].flops_per_weight == 4
    assert plan.ratio == pytest.approx(1, abs=0.01)


class Contained(nn.Module):
    """A network that runs its two middle layers from a plain container; they are attributes, too."""

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
def test_plain_containers_hold_the_layers_of_the_result(kind: str, member: str) -> None:
    """Plan, values and gradients are those of a network whose code uses the attributes."""
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
def test_unused_containers_hold_the_layers_of_the_result(member: str) -> None:
    net = Net(lambda m, x: m.head(F.relu(m.b(F.relu(m.stem(x))))), stem=conv(3, 8), b=conv(8, 8), head=conv(8, 2))
    net.unused, net.sizes = [net.b, net.head], [8, [8, "same"]]
    new = transform(net, member, 0.75, X)
    assert new.unused[0] is new.b and new.unused[1] is new.head
    assert net.unused[0] is net.b
    assert new(X).shape == (2, 2, 8, 8)


def test_attention_in_a_list_is_replaced_in_the_list() -> None:
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
def test_a_layer_in_an_object_of_the_code_is_refused_by_name(member: str) -> None:
    net = Contained(Holder, lambda holder: holder.layers)
    with pytest.raises(UserError, match=r"^b\b.* does not run in the transformed network"):
        sparsify(net, member, 0.75, X)
    new, plan = sparsify(net, "sparse_wide", 0.75, X)  # which resizes layers in place
    assert plan.ratio == pytest.approx(1, abs=1e-3) and new(X).shape == net(X).shape


def test_recurrent_layers_that_would_be_widened_are_refused_and_others_kept() -> None:
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
