"""Language models of transformers by the names of their config classes."""

import sys

import pytest
import torch

from sparseift.errors import UserError
from sparseift.models import from_transformers
from sparseift.tasks.language_modelling import logits_of

pytest.importorskip("transformers")

TINY = {
    "GPT2Config": {"n_layer": 2, "n_embd": 16, "n_head": 2},
    "LlamaConfig": {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2},
    "GPTNeoXConfig": {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2},
    "OPT": {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "ffn_dim": 24,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    },
}


@pytest.mark.parametrize("name", TINY)
def test_takes_the_vocabulary_and_context_of_the_data(name: str) -> None:
    net = from_transformers(name, vocab_size=53, context_length=12, **TINY[name]).eval()
    tokens = torch.arange(24).view(2, 12)
    scores = logits_of(net(tokens))
    assert scores.shape == (2, 12, 53)
    changed = tokens.clone()
    changed[:, 6] = 50
    assert torch.allclose(logits_of(net(changed))[:, :6], scores[:, :6], atol=1e-5)  # causal
    assert net(tokens).past_key_values is None


def test_weights_depend_on_the_seed() -> None:
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        net = from_transformers("GPT2", 53, 12, **TINY["GPT2Config"])
        weights.append(net.transformer.h[0].mlp.c_fc.weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("GPT3Config", {}, "model.name is 'GPT3Config'; expected a config class .* such as GPT"),
        ("GPT2Config", {"n_layers": 2}, "model.n_layers is 2; expected an option of GPT2Config, such as n_layer"),
        (
            "GPT2Config",
            {"zzzzzzzz": 2},
            "model.zzzzzzzz is 2; expected no value, because GPT2Config has no such",
        ),
        ("GPT2Config", {"n_embd": 15, "n_head": 2}, "model.name=GPT2Config: .*divisible"),
    ],
)
def test_what_does_not_exist(name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        from_transformers(name, 53, 12, **options)


def test_without_the_library(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"^networks of transformers need the package transformers, which is not"):
        from_transformers("GPT2Config", 53, 12)


def test_computes_activations_again() -> None:
    torch.manual_seed(0)
    net = from_transformers("GPT2Config", 16, 8, checkpointing=True, n_layer=1, n_head=2, n_embd=8)
    assert net.is_gradient_checkpointing
    assert not from_transformers("GPT2Config", 16, 8, n_layer=1, n_head=2, n_embd=8).is_gradient_checkpointing
