"""Exports a run as a folder that `from_pretrained` of Hugging Face's transformers loads."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from ..common.checks import require
from ..common.console import waiting
from ..common.files import making
from ..data.text.base import TextData
from ..errors import UserError
from ..models.gpt import GPT
from ..models.gpt2_format import MEMBERS, as_gpt2
from ..surgery.pretrained import describes, is_pretrained_model
from ..training.export import exported_state
from .build import build_network, make
from .resume import noted_config


def export_pretrained(run: Path, best: bool, out: Path) -> str:
    """Write a language model and its tokenizer as transformers does. Masked weights are zero.

    Args:
        run: A run folder.
        best: Whether to read best.ckpt in place of last.ckpt.
        out: New folder to write.

    Returns:
        A message that says what was written.

    Raises:
        UserError: The run is not of a network that transformers can describe.
    """
    config = noted_config(run)
    require(config is not None, "RUN", str(run), "a run folder, which --format transformers requires")
    assert config is not None
    with waiting(out.name):
        checkpoint, state = exported_state(run, best)
        config.init = {"from": None, "keep_weights": False}  # the weights come from the checkpoint
        net, _ = build_network(config, on_meta=False)
        net.load_state_dict(state)
        model = _in_format(net)
        _write(out, *filter(None, (model, _tokenizer(config))))
    return f"{type(model).__name__} of {checkpoint} in {out}"


def _write(out: Path, *parts: Any) -> None:
    """Write a folder whole or not at all."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    with making(out) as partial:
        for part in parts:
            part.save_pretrained(partial)


def _in_format(net: nn.Module) -> Any:
    if isinstance(net, GPT):
        return as_gpt2(net)
    if not is_pretrained_model(net):
        raise UserError(f"{type(net).__name__} has no format of transformers; expected model=gpt or model=transformers")
    if not describes(net):
        raise UserError(f"the config of {type(net).__name__} does not describe this network; {MEMBERS}")
    return net


def _tokenizer(config: DictConfig) -> Any:
    """The tokenizer of the run; None, with a warning, if it cannot be had."""
    from transformers import PreTrainedTokenizerFast

    try:
        data = make(config.dataset)
        require(isinstance(data, TextData), "dataset", type(data).__name__, "a data set of text")
        tokenizer, end = data.encoder.as_library(), data.encoder.end
    except UserError as error:
        warnings.warn(f"the folder has no tokenizer: {error}", stacklevel=2)
        return None
    token = tokenizer.id_to_token(end)
    context = int(config.dataset.context_length)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=token, model_max_length=context)
