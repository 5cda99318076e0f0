"""Untrained language models of Hugging Face's transformers, by the name of their config class."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from torch import nn

from ..common.checks import boolean, require
from ..common.messages import one_line
from ..errors import UserError

ENDING = "Config"
POSITIONS = ("n_positions", "max_position_embeddings", "max_seq_len", "context_length")
"""Names of the maximum length of a sequence in the configs. Some kinds of position have no maximum."""

TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Tokens of the configs, which a smaller vocabulary may lack. Training does not use them."""


def from_transformers(
    name: str, vocab_size: int, context_length: int, checkpointing: bool = False, **options: Any
) -> nn.Module:
    """Return a causal language model of transformers: tokens (N, T), int64, to an object with the scores of the next.

    It has new weights, and keeps no cache of keys and values.

    Args:
        name: The class of its config, such as "GPT2Config" or "LlamaConfig"; "Config" may be left out.
        vocab_size: Number of tokens.
        context_length: Maximum length T of a sequence, for models that have one.
        checkpointing: Whether to compute activations again in the backward pass, which saves memory.
        options: Further arguments of the class, such as `n_layer`.

    Raises:
        UserError: There is no such class or option, or transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        needed = "the package transformers, which is not installed: pip install 'sparseift[text]'"
        raise UserError(f"networks of transformers need {needed}") from error
    known = [config.__name__ for config in transformers.MODEL_FOR_CAUSAL_LM_MAPPING]
    wanted = name if name.endswith(ENDING) else f"{name}{ENDING}"
    near = get_close_matches(wanted, known, n=3, cutoff=0.5) or ["GPT2Config", "LlamaConfig"]
    expected = f"a config class of a causal language model of transformers, such as {' or '.join(near)}"
    require(wanted in known, "model.name", name, expected)
    kind = getattr(transformers, wanted)
    default = _made(name, kind)
    for option in options:
        near = get_close_matches(option, vars(default), n=3, cutoff=0.5)
        require(hasattr(default, option), f"model.{option}", options[option], _instead(wanted, near))
    lengths = {key: context_length for key in POSITIONS if hasattr(default, key)}
    absent = {key: None for key in TOKENS if (getattr(default, key, None) or 0) >= vocab_size}
    config = _made(name, kind, **{"vocab_size": vocab_size, **lengths, **absent, **options})
    config.use_cache = False
    net = _made(name, transformers.AutoModelForCausalLM.from_config, config)
    if boolean("model.checkpointing", checkpointing):
        _made(name, net.gradient_checkpointing_enable)
    return net


def _instead(kind: str, near: list[str]) -> str:
    return (
        f"an option of {kind}, such as {' or '.join(near)}" if near else f"no value, because {kind} has no such option"
    )


def _made(name: str, make: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return make(*arguments, **options)
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        raise UserError(f"model.name={name}: {one_line(error)}") from error
