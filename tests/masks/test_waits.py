"""How often an update of the masks waits for an accelerator, of which it takes the ways."""

from collections import Counter

import pytest
import torch
from torch import nn

from sparseift import Masks
from sparseift.masks import topk
from sparseift.masks.patterns import Block, NofM, Pattern, Structured, Unstructured
from sparseift.sparsifiers import GMP, SET, DropGrow, GraNet, RigL, Update

from ..waits import Waits

LAYERS = 5
MOVING = {"update_interval": 1, "begin": 0, "end": 1.0, "drop_fraction": 0.5, "anneal": "constant"}
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1, fused=True),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=0.1, initial_accumulator_value=0.5),
}


@pytest.fixture(autouse=True)
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topk, "by_sample", topk.by_threshold)


def trained(optimizer: str, pattern: Pattern, count: int = 72) -> tuple[Masks, torch.optim.Optimizer]:
    """A network after a step, with gradients of the next. count: active weights of 144 in each layer."""
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Linear(12, 12) for _ in range(LAYERS)])
    masks = Masks(net, {name: pattern.largest(torch.rand(12, 12), count) for name, _ in net.named_children()}, pattern)
    masks.apply()
    made = OPTIMIZERS[optimizer](net.parameters())
    for _ in range(2):
        made.zero_grad()
        net(torch.randn(4, 12)).square().sum().backward()
        if not made.state:
            masks.mask_gradients()
            made.step()
    return masks, made


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", [RigL, SET])
def test_one_wait_a_layer(kind: type[DropGrow], optimizer: str) -> None:
    """And two more: for the check that masked weights are zero, and that gradients are finite. A step of Adagrad reads
    its count of steps, which is on the CPU."""
    masks, made = trained(optimizer, Unstructured())
    with Waits() as waits:
        kind(**MOVING).update(masks, [made], Update(1, 10, 0))
    assert all(masks.moves.values())
    assert len(waits.waits) <= (2 if optimizer == "adagrad" else 1) * LAYERS + 2, Counter(waits.waits)


@pytest.mark.parametrize("pattern", [NofM(m=4, tolerance=9.0), Block(size=5, tolerance=9.0)], ids=str)
def test_patterns(pattern: Structured) -> None:
    masks, made = trained("sgd", pattern, pattern.count((12, 12), pattern.levels((12, 12)) // 2))
    with Waits() as waits:
        RigL(**MOVING).update(masks, [made], Update(1, 10, 0))
    assert any(masks.moves.values())
    assert len(waits.waits) <= 3 * LAYERS + 2, Counter(waits.waits)


def test_pruning() -> None:
    masks, made = trained("sgd", Unstructured())
    masks.planned = dict.fromkeys(masks, 20)
    pruning = {"update_interval": 1, "begin": 0.0, "initial_density": 0.5}
    for sparsifier in (GMP(**pruning, end=1.0), GraNet(**MOVING, prune_end=1.0, initial_density=0.5)):
        with Waits() as waits:
            sparsifier.update(masks, [made], Update(5, 10, 0))
        assert len(waits.waits) <= 2 * LAYERS + 3, Counter(waits.waits)


def test_checksums_and_checks() -> None:
    masks, _ = trained("sgd", Unstructured())
    with Waits() as waits:
        masks.checksums()
        masks.mask_gradients()
        masks.apply()
    assert not waits.waits
    with Waits() as waits:
        assert masks.nonzero_outside() == []
    assert len(waits.waits) == 1
