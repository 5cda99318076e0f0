"""Generation of text, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..graph.copies import modes_kept
from .language_modelling import logits_of


@torch.no_grad()
def generate(
    net: nn.Module,
    prompt: Sequence[int],
    count: int,
    context_length: int,
    temperature: float,
    generator: torch.Generator,
) -> list[int]:
    """Return tokens that continue a prompt, drawn from the distribution that the network predicts.

    The network is evaluated without dropout, and its modules keep their modes.

    Args:
        prompt: At least one token.
        count: Number of tokens to draw.
        context_length: Maximum number of tokens that the network reads. It reads the last ones.
        temperature: Divides the logits; 0 takes the most likely token.
        generator: Source of random numbers, on the CPU.
    """
    device = next(net.parameters()).device
    tokens = list(prompt)
    with modes_kept(net):
        net.eval()
        for _ in range(count):
            read = torch.tensor([tokens[-context_length:]], device=device)
            logits = logits_of(net(read))[0, -1].float().cpu()
            if temperature:
                chosen = torch.multinomial((logits / temperature).softmax(0), 1, generator=generator)
            else:
                chosen = logits.argmax()
            tokens.append(int(chosen))
    return tokens[len(prompt) :]
