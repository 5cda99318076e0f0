"""GPT in the format of Hugging Face's transformers."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import UserError
from .gpt import GPT

LAYERS = ("c_attn", "c_proj", "c_fc")
MATRICES = tuple(f"{layer}.weight" for layer in LAYERS)
"""Weights of the blocks, which GPT-2 stores as (in, out)."""

MEMBERS = "transformers can describe dense and widened networks alone (member=dense, member=sparse_wide)"


def as_gpt2(net: GPT) -> nn.Module:
    """Return a `transformers.GPT2LMHeadModel` with the weights of a GPT, of any width and number of heads.

    Both have the same names. The model stores the weights of the blocks as (in, out), as GPT-2 does.

    Args:
        net: A GPT that is dense, or widened by Sparse Wide.

    Raises:
        UserError: Its layers are other modules, or transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        needed = "transformers, which is not installed: pip install 'sparseift[text]'"
        raise UserError(f"the format of transformers needs {needed}") from error
    layers = {name: module for name, module in net.named_modules() if name.endswith(LAYERS)}
    if other := [name for name, module in layers.items() if type(module) is not nn.Linear]:
        raise UserError(f"GPT-2 has no {type(layers[other[0]]).__name__} as {other[0]}; {MEMBERS}")
    block: Any = net.transformer.h[0]
    config = transformers.GPT2Config(
        vocab_size=net.transformer.wte.num_embeddings,
        n_positions=net.transformer.wpe.num_embeddings,
        n_embd=net.transformer.wte.embedding_dim,
        n_layer=len(net.transformer.h),
        n_head=block.attn.heads,
        n_inner=block.mlp.c_fc.out_features,
        activation_function="gelu",
        resid_pdrop=net.transformer.drop.p,
        embd_pdrop=net.transformer.drop.p,
        attn_pdrop=block.attn.dropout,
        layer_norm_epsilon=net.transformer.ln_f.eps,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = transformers.GPT2LMHeadModel(config)
    state = {name: tensor.t() if name.endswith(MATRICES) else tensor for name, tensor in net.state_dict().items()}
    model.load_state_dict(state)
    return model.train(net.training)
