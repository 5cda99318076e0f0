"""Models of transformers: the config follows the widths, and saving and loading them changes no bit."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparseift import Masks, UserError, sparsify

transformers = pytest.importorskip("transformers")

IDS = torch.randint(3, 50, (2, 10), generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
USUAL = {
    "hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 50,
    "max_position_embeddings": 32,
}  # fmt: skip
MODELS: dict[str, dict[str, int]] = {
    "GPT2 LMHeadModel": {"n_embd": 48, "n_layer": 1, "n_head": 4, "n_positions": 32, "vocab_size": 50},
    "GPTNeoX ForCausalLM": USUAL,
    "OPT ForCausalLM": {
        "hidden_size": 48, "word_embed_proj_dim": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "ffn_dim": 96,
        "vocab_size": 50, "max_position_embeddings": 32,
    },
    "Llama ForCausalLM": USUAL | {"num_key_value_heads": 2},
    "Qwen2 ForCausalLM": USUAL | {"num_key_value_heads": 2},
    "Mistral ForCausalLM": USUAL | {"num_key_value_heads": 2},
    "Bert ForMaskedLM": USUAL,
    "ViT ForImageClassification": {
        key: value for key, value in USUAL.items() if key not in ("vocab_size", "max_position_embeddings")
    } | {"image_size": 16, "patch_size": 4},
    "T5 ForConditionalGeneration": {
        "d_model": 48, "d_kv": 12, "d_ff": 96, "num_layers": 1, "num_heads": 4, "vocab_size": 50
    },
}  # fmt: skip
WIDTHS = {  # of configs; twice as large at a sparsity of 0.75
    "hidden_size", "intermediate_size", "n_embd", "ffn_dim", "word_embed_proj_dim", "d_model", "d_kv", "d_ff",
    "head_dim",
}  # fmt: skip


def model(name: str) -> nn.Module:
    family, _, task = name.partition(" ")
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**MODELS[name])
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(config, key, None):
            setattr(config, key, 1)
    return getattr(transformers, f"{family}{task}")(config)


def example(name: str) -> dict[str, Tensor]:
    if "ViT" in name:
        return {"pixel_values": IMAGES}
    return {"input_ids": IDS, **({"decoder_input_ids": IDS} if "T5" in name else {})}


@pytest.mark.parametrize("member", ["dense", "sparse_wide"])
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_and_loaded_network_gives_the_same_bits(name: str, member: str, tmp_path: Path) -> None:
    net = model(name)
    config = copy.deepcopy(net.config)
    new, plan = sparsify(net, member, 0.75, example(name))
    Masks.random(new, plan, seed=0).apply()
    new.save_pretrained(tmp_path)
    again = type(net).from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(
            again.eval()(**example(name)).logits, new.eval()(**example(name)).logits, rtol=0, atol=0
        )
    assert net.config.to_dict() == config.to_dict()  # the network itself is left alone
    before, after = config.to_dict(), again.config.to_dict()
    for key in WIDTHS & before.keys():
        if before[key] is not None:
            assert after[key] == before[key] * (2 if member == "sparse_wide" else 1)
    for key in ("num_attention_heads", "num_key_value_heads", "n_head", "num_heads", "vocab_size", "num_hidden_layers"):
        assert after.get(key) == before.get(key)


@pytest.mark.parametrize("name", ["GPT2 LMHeadModel", "Llama ForCausalLM", "Bert ForMaskedLM"])
def test_a_mask_in_the_example_changes_nothing(name: str) -> None:
    mask = torch.ones_like(IDS)
    mask[:, -2:] = 0
    plans = [
        sparsify(model(name), "sparse_wide", 0.5, inputs)[1]
        for inputs in (IDS, {"input_ids": IDS, "attention_mask": mask})
    ]
    assert plans[0] == plans[1]


def test_generation_still_uses_keys_and_values() -> None:
    new, _ = sparsify(model("Llama ForCausalLM"), "sparse_wide", 0.75, IDS)
    assert new.config.use_cache
    tokens = new.generate(IDS[:1], max_new_tokens=3, do_sample=False, pad_token_id=1, eos_token_id=None)
    with torch.no_grad():
        expected = new.eval()(tokens[:, :-1], use_cache=False).logits[:, -3:].argmax(-1)
    assert torch.equal(tokens[:, -3:], expected)


def test_widths_that_no_config_describes_are_refused_in_one_line() -> None:
    net = model("Llama ForCausalLM")
    net.lm_head = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 50))
    with pytest.raises(UserError, match=r"^sparse_wide can't widen LlamaForCausalLM: no values of its config") as error:
        sparsify(net, "sparse_wide", 0.75, IDS)
    assert "\n" not in str(error.value)
