"""Drop and grow, as pure functions of tensors. Counts are exact, and ties go to the first position."""

from __future__ import annotations

import torch
from torch import Tensor

from ..masks import largest


def drop(weight: Tensor, mask: Tensor, count: int) -> Tensor:
    """The mask without the `count` active weights of smallest magnitude. Masked positions take no part."""
    return _marked(weight.detach().abs(), mask, int(mask.sum()) - count)


def grow(score: Tensor, kept: Tensor, count: int) -> Tensor:
    """The mask `kept` with the `count` positions of largest score outside it. Kept positions do not compete; there
    must be at least `count` others."""
    return kept | _marked(score, ~kept, count)


def _marked(score: Tensor, among: Tensor, count: int) -> Tensor:
    """The `count` positions of largest score where `among` is true."""
    places = among.flatten().nonzero().squeeze(1)
    chosen = torch.zeros_like(among, memory_format=torch.contiguous_format)
    chosen.view(-1)[places[largest(score.flatten()[places], count)]] = True
    return chosen
