"""Small plans and networks, and updates once more on plain lists."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from sparseift import Masks, Plan
from sparseift.sparsifiers import Sparsifier, Update
from sparseift.sparsity import LayerPlan


def plan_of(net: nn.Module, active: Mapping[str, int], price: Mapping[str, int] | None = None) -> Plan:
    """A plan that masks the layers of `active`. price: FLOPs of a weight, where the plan meets FLOPs; else it is of a
    sparsity."""
    shapes = {name: tuple(net.get_submodule(name).weight.shape) for name in active}
    layers = tuple(
        LayerPlan(name, shape, prod(shape), active[name], price[name] if price else 2, masked=True)
        for name, shape in shapes.items()
    )
    stored = sum(layer.numel * layer.flops_per_weight for layer in layers)
    return Plan(layers, budget=stored, params_stored=1, by_flops=bool(price))


def updated(sparsifier: Sparsifier, masks: Masks, optimizers: Iterable[torch.optim.Optimizer], at: Update) -> int:
    """Update the masks. Returns how many weights stopped being active; `Masks.moves` counts the layers with any."""
    old, moves = {name: masks[name] for name in masks}, dict(masks.moves)
    sparsifier.update(masks, optimizers, at)
    for name in masks:
        assert (masks.moves[name] > moves[name]) or torch.equal(masks[name], old[name])
    return sum(int((old[name] & ~masks[name]).sum()) for name in masks)


def flat(tensor: Tensor) -> list:
    return tensor.detach().flatten().tolist()


def best(scores: Sequence[float], among: Sequence[int], count: int) -> set[int]:
    """The `count` of `among` with the largest scores; of equal ones the first."""
    return set(sorted(among, key=lambda i: (-scores[i], i))[: max(0, count)])


def indices(mask: Sequence[bool]) -> list[int]:
    return [i for i, on in enumerate(mask) if on]


def pruned(weight: Sequence[float], mask: Sequence[bool], count: int) -> list[bool]:
    """The `count` largest magnitudes of `mask`."""
    stay = best([abs(w) for w in weight], indices(mask), count)
    return [i in stay for i in range(len(mask))]


def grown(score: Sequence[float], mask: Sequence[bool], count: int) -> list[bool]:
    new = best(score, indices([not on for on in mask]), count)
    return [on or i in new for i, on in enumerate(mask)]


def mlp(*widths: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Sequential:
    """Linear layers '0', '2', ... with ReLU between them."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(dtype)
