"""Members on networks that take tokens, against networks that are built wide."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, UserError, sparsify, transform
from sparseift.graph.recorder import trace
from sparseift.sparsity import eligible_layers

from ..nets import LOCAL, MEMBERS, Net
from .language_nets import GPT, HEADS, IDS, SPELLINGS, TOKENS, VOCABULARY, WIDTH, Attention, Grouped, OwnNorm


@pytest.mark.parametrize("sparsity", [0.5, 0.75])
@pytest.mark.parametrize("attention", SPELLINGS)
def test_sparse_wide_is_a_network_built_wide_with_as_many_heads(attention: type[nn.Module], sparsity: float) -> None:
    heads = 2 * HEADS if attention is Grouped else HEADS
    new, plan = sparsify(GPT(heads=heads, attention=attention), "sparse_wide", sparsity, IDS)
    width = new.wte.embedding_dim
    assert abs(width / WIDTH - (1 - sparsity) ** -0.5) < 0.1 and plan.ratio == pytest.approx(1, abs=1e-3)
    wide = GPT(width, heads, attention)
    wide.load_state_dict(new.state_dict())
    torch.testing.assert_close(new.eval()(IDS), wide.eval()(IDS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pattern", ["b t (three h d) -> three b h t d"])
@pytest.mark.parametrize("named", ["h", "d", "h d"])
def test_einops(pattern: str, named: str) -> None:
    einops = pytest.importorskip("einops")

    class Rearranged(Attention):
        def split(self, x: Tensor):
            sizes = {"h": self.heads, "d": self.head_dim}
            return einops.rearrange(self.qkv(x), pattern, three=3, **{name: sizes[name] for name in named.split()})

        def merge(self, mixed: Tensor, batch: int, tokens: int) -> Tensor:
            return einops.rearrange(mixed, "b h t d -> b t (h d)")

    new = transform(GPT(attention=Rearranged), "sparse_wide", 0.75, IDS)
    wide = GPT(2 * WIDTH, attention=Rearranged)
    wide.load_state_dict(new.state_dict())
    torch.testing.assert_close(new.eval()(IDS), wide.eval()(IDS), rtol=0, atol=0)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm, OwnNorm])
def test_norms_follow(norm: type[nn.Module]) -> None:
    new = transform(GPT(norm=norm), "sparse_wide", 0.75, IDS)
    wide = GPT(2 * WIDTH, norm=norm)
    wide.load_state_dict(new.state_dict())
    torch.testing.assert_close(new.eval()(IDS), wide.eval()(IDS), rtol=0, atol=0)


@pytest.mark.parametrize(("sparsity", "width"), [(0.5, 1092), (0.75, 1536)])
def test_twelve_heads_have_the_published_widths(sparsity: float, width: int) -> None:
    """GPT-3 Small of the public configuration: 768 becomes 12 heads of 91 or 128."""
    with torch.device("meta"):
        net = GPT(768, 12)
    new, plan = sparsify(net, "sparse_wide", sparsity, IDS)
    assert (new.wte.embedding_dim, new.mlp[0].out_features) == (width, 4 * width)
    assert plan.ratio == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_the_embedding_is_first_and_the_head_last(member: str, tied: bool) -> None:
    new, plan = sparsify(GPT(tied=tied), member, 0.5, IDS)
    blocks = ("attention.", "mlp.")
    assert all(name.startswith(blocks) for name in plan.masked)
    assert any(name.startswith("attention.qkv") for name in plan.masked)
    assert (new.head.weight is new.wte.weight) == tied
    assert not any(layer.masked for layer in plan.layers if layer.name == "head")


@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_an_included_head_is_masked_with_the_embedding_that_it_shares(member: str) -> None:
    new, plan = sparsify(GPT(), member, 0.5, IDS, include=["head"])
    masks = Masks.random(new, plan, seed=0)
    masks.apply()
    assert new.head.weight is new.wte.weight
    assert int(new.wte.weight.count_nonzero()) == plan.masked["head"].active < new.wte.weight.numel()


def test_a_head_that_is_a_product_with_the_embedding_is_the_last_layer() -> None:
    def run(m: Net, ids: Tensor) -> Tensor:
        return F.linear(m.b(F.relu(m.a(m.table(ids)))), m.table.weight)

    net = Net(run, table=nn.Embedding(30, 8), a=nn.Linear(8, 16), b=nn.Linear(16, 8))
    assert eligible_layers(trace(net, IDS % 30)) == ["a", "b"]
    new = transform(net, "sparse_wide", 0.75, IDS % 30)
    assert (new.table.weight.shape, new.a.weight.shape, new.b.weight.shape) == ((30, 16), (32, 16), (16, 32))


def test_entries_of_embeddings_are_drawn_as_the_network_drew_them() -> None:
    """Columns are not repeated, and padding stays zero."""
    torch.manual_seed(0)
    net = GPT(width=64, tied=False, std=0.02)
    net.wte = nn.Embedding(VOCABULARY, 64, padding_idx=3)
    new = transform(net, "sparse_wide", 0.75, IDS)
    assert not new.wte.weight[3].any() and new.wte.weight[4].all()
    assert new.wte.weight[4:].std().item() == pytest.approx(1, rel=0.05)  # nn.Embedding draws with a deviation of 1
    assert new.wpe.weight.std().item() == pytest.approx(0.02, rel=0.1)
    for table in (new.wte.weight, new.wpe.weight):
        assert not (table[:, 1:] == table[:, :-1]).all(0).any()


def test_positions_in_a_bare_parameter_are_drawn_and_those_of_types_too() -> None:
    def run(m: Net, ids: Tensor) -> Tensor:
        kinds = m.types(torch.zeros_like(ids))
        return m.head(m.b(F.relu(m.a(m.table(ids) + kinds + m.positions[:, : ids.shape[1]]))))

    net = Net(run, table=nn.Embedding(VOCABULARY, 8), types=nn.Embedding(2, 8), a=nn.Linear(8, 16), b=nn.Linear(16, 8),
              head=nn.Linear(8, VOCABULARY))  # fmt: skip
    net.positions = nn.Parameter(torch.randn(1, TOKENS, 8))
    new = transform(net, "sparse_wide", 0.75, IDS)
    assert (new.positions.shape, new.types.weight.shape, new.types.embedding_dim) == ((1, TOKENS, 16), (2, 16), 16)
    assert not torch.equal(new.positions[..., 0], new.positions[..., 1])
    assert new(IDS).shape == (2, TOKENS, VOCABULARY)


@pytest.mark.parametrize("member", LOCAL)
def test_a_written_out_gelu_is_the_activation_of_the_branches(member: str) -> None:
    class Written(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * x * (1.0 + torch.tanh((2.0 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))))

    net = GPT()
    net.mlp[1] = Written()
    new = transform(net, member, 0.75, IDS)
    found = [module for module in new.modules() if isinstance(module, Written)]
    assert found and not any(isinstance(module, nn.Tanh) for module in new.modules())
    x = torch.linspace(-4, 4, 100)
    torch.testing.assert_close(found[0](x), F.gelu(x, approximate="tanh"))


def test_a_head_width_in_the_code_is_refused_in_one_line() -> None:
    class Fixed(Attention):
        def split(self, x: Tensor):
            return (t.view(*x.shape[:2], -1, 12).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))

    with pytest.raises(UserError, match=r"^sparse_wide can't widen attention: its code fixes the width of a head, 12$"):
        transform(GPT(attention=Fixed), "sparse_wide", 0.75, IDS)
