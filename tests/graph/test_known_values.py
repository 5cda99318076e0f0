"""Code that asks for values of integer tensors runs on the meta device."""

import pytest
import torch
from torch import Tensor, nn

from sparseift import forward_flops

IDS = torch.randint(0, 9, (2, 6))


class Asking(nn.Module):
    """A network whose path depends on what `question` answers, given tokens and a mask."""

    def __init__(self, question):
        super().__init__()
        self.question = question
        self.table, self.cheap, self.dear = nn.Embedding(9, 4), nn.Linear(4, 4), nn.Linear(4, 40)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.table(ids)
        return self.cheap(x) if self.question(ids, mask) else self.dear(x)


def longest(ids: Tensor, mask: Tensor) -> bool:
    return int(mask.sum(-1).max()) == ids.shape[1]


def changed(ids: Tensor, mask: Tensor) -> bool:
    mask = mask.clone()
    mask[:, 0] = 0
    return not mask.all()


def positions(ids: Tensor, mask: Tensor) -> bool:
    places = torch.arange(ids.shape[1], device=ids.device)[None] + torch.zeros_like(ids[:, :1]).long()
    return bool((places.diff(dim=-1) == 1).all()) and places.max().item() == 5


@pytest.mark.parametrize("dtype", [torch.long, torch.bool])
@pytest.mark.parametrize("question", [lambda ids, mask: mask.all(), longest, changed, positions])
def test_masks_are_full_and_positions_are_known(question, dtype: torch.dtype) -> None:
    mask = torch.ones(2, 6, dtype=dtype)
    assert forward_flops(Asking(question), (IDS, mask)) == 6 * 2 * 4 * 4


@pytest.mark.parametrize(("value", "width"), [(1.0, 4), (0.0, 40)])
def test_other_values_are_those_of_the_example(value: float, width: int) -> None:
    net = Asking(lambda ids, mask: mask.sum() > 0)
    assert forward_flops(net, (IDS, torch.full((2, 6), value))) == 6 * 2 * 4 * width
