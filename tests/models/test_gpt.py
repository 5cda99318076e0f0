"""GPT: the function of Hugging Face's GPT-2, the published initialisation and FLOPs, and what is refused."""

from math import sqrt

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparseift.errors import UserError
from sparseift.models import GPT

SMALL = {"vocab_size": 50, "positions": 12, "layers": 3, "width": 24, "heads": 4}


def tokens(count: int = 2, length: int = 12) -> torch.Tensor:
    return torch.randint(SMALL["vocab_size"], (count, length), generator=torch.Generator().manual_seed(0))


def test_computes_what_hugging_face_s_gpt2_does_with_the_same_names() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": 50,
        "n_positions": 12,
        "n_layer": 3,
        "n_embd": 24,
        "n_head": 4,
        "activation_function": "gelu",
    }
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()
    net = GPT(**SMALL).eval()
    transposed = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    state = {
        name: value.T if name.endswith(transposed) else value  # their layers store (in, out)
        for name, value in theirs.state_dict().items()
        if not name.endswith((".attn.bias", ".attn.masked_bias"))
    }
    for value in state.values():
        value += 0.1 * torch.randn_like(value)  # biases and norms, too
    net.load_state_dict(state)
    torch.testing.assert_close(net(tokens()), theirs(tokens()).logits, rtol=1e-4, atol=1e-5)


def test_no_token_sees_a_later_one() -> None:
    net, read = GPT(**SMALL).eval(), tokens(1)
    changed = read.clone()
    changed[0, 7] = (changed[0, 7] + 1) % 50
    before, after = net(read), net(changed)
    assert torch.equal(before[:, :7], after[:, :7]) and not torch.allclose(before[:, 7:], after[:, 7:])


def test_the_head_is_the_embedding() -> None:
    net = GPT(**SMALL)
    assert net.lm_head.weight is net.transformer.wte.weight
    assert "lm_head.weight" not in dict(net.named_parameters()) and "lm_head.weight" in net.state_dict()


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_initial_weights(std: float) -> None:
    """A normal distribution, truncated at two deviations, has 0.88 of its deviation left."""
    net = GPT(200, 64, layers=8, width=64, heads=2, init_std=std)
    left = 0.8796
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif parameter.dim() == 1:
            assert (parameter == 1).all()
        else:
            expected = std / sqrt(2 * 8) if "c_proj" in name else std
            assert float(parameter.detach().std()) == pytest.approx(left * expected, rel=0.05), name
            assert parameter.abs().max() <= 2 * expected


def test_checkpointing_changes_neither_outputs_nor_gradients() -> None:
    """Not even with dropout: a block that is computed again draws the same numbers."""
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = GPT(**SMALL, dropout=0.2, checkpointing=checkpointing)
        torch.manual_seed(1)
        outputs = net(tokens())
        outputs.square().mean().backward()
        results.append([outputs, *(parameter.grad for parameter in net.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_checkpointing_keeps_fewer_activations() -> None:
    kept = {}
    for checkpointing in (False, True):
        net, sizes = GPT(**SMALL, checkpointing=checkpointing), []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, to=sizes: to.append(x.numel()) or x, lambda x: x):
            net(tokens(8))
        kept[checkpointing] = sum(sizes)
    assert kept[True] < kept[False] / 3


def test_dropout_in_training_only() -> None:
    net = GPT(**SMALL, dropout=0.5)
    assert not torch.equal(net(tokens()), net(tokens()))
    assert torch.equal(net.eval()(tokens()), net(tokens()))


def test_flops_of_gpt3_small() -> None:
    """142.4 million multiply-accumulates per token: blocks, head, and attention over the full square."""
    with torch.device("meta"):
        net = GPT(50_257, 1024, layers=12, width=768, heads=12)
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        net(torch.zeros(1, 1024, dtype=torch.int64, device="meta"))
    by_hand = 2 * 1024 * (12 * 12 * 768**2 + 768 * 50_257 + 12 * 2 * 1024 * 768)
    assert counter.get_total_flops() == by_hand == 291_648_307_200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 25}, "model.width is 25; expected a multiple of model.heads, which is 4"),
        ({"heads": 0}, "model.heads is 0; expected an integer >= 1"),
        ({"dropout": 1.0}, r"model.dropout is 1.0; expected a number in \[0, 1\)"),
        ({"init_std": 0}, "model.init_std is 0; expected a number > 0"),
        ({"inner": 0}, "model.inner is 0; expected an integer >= 1"),
        ({"checkpointing": "yes"}, "model.checkpointing is 'yes'; expected true or false"),
    ],
)
def test_sizes_that_do_not_fit(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        GPT(**{**SMALL, **changes})


def test_a_sequence_that_is_too_long() -> None:
    with pytest.raises(UserError, match=r"^the length of a sequence is 13; expected at most 12 tokens$"):
        GPT(**SMALL)(tokens(length=13))


def test_the_width_of_heads_follows_from_the_input() -> None:
    """A transformation that doubles the width needs no change in the modules."""
    attention = GPT(**SMALL).transformer.h[0].attn
    attention.c_attn, attention.c_proj = nn.Linear(48, 144), nn.Linear(48, 48)
    assert attention(torch.randn(2, 5, 48)).shape == (2, 5, 48)
