"""Sparse Wide against the published solutions of the budget equation, from layer shapes alone."""

from functools import cache

import pytest
import torch
import torchvision

from sparseift import sparsify
from sparseift.members import SparseWide
from sparseift.models import resnet18_cifar

SPARSITIES, WIDTHS = (0.5, 0.75, 0.9), (90, 128, 202)
DEPTHS = {"resnet18_cifar": (2, 2, 2, 2), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}

PUBLISHED = {
    "resnet18_cifar": (0.49579, 0.75179, 0.90117),
    "resnet18": (0.50983, 0.76888, 0.91596),
    "resnet34": (0.50200, 0.75934, 0.90770),
    "resnet50": (0.50259, 0.76007, 0.90833),
}
# Ours lies below theirs by no more than this: their masks make up for the norms of the wide network too.
BELOW = {"resnet18_cifar": 0.0010, "resnet18": 0.0015, "resnet34": 0.0010, "resnet50": 0.0026}


def resnet(name: str, width: int) -> tuple[list[tuple[int, int, bool]], list[int], int]:
    """(weights, positions, masked) of each layer; (channels, positions) of each norm; FLOPs of the poolings."""
    bottleneck, cifar = name == "resnet50", name == "resnet18_cifar"
    side, kernel, classes = (32, 3, 100) if cifar else (112, 7, 1000)
    layers, norms = [(kernel**2 * 3 * width, side**2, False)], [(width, side**2)]
    other = 0
    if not cifar:
        side //= 2
        other += 8 * width * side**2  # max pooling, 3 x 3

    def add(inputs: int, outputs: int, kernel: int, side: int) -> None:
        layers.append((kernel**2 * inputs * outputs, side**2, True))
        norms.append((outputs, side**2))

    inputs = width
    for stage, depth in enumerate(DEPTHS[name]):
        inner = width * 2**stage
        outputs = 4 * inner if bottleneck else inner
        for block in range(depth):
            before = side
            side = side // 2 if stage and not block else side
            if bottleneck:
                add(inputs, inner, 1, before)
                add(inner, inner, 3, side)
                add(inner, outputs, 1, side)
            else:
                add(inputs, inner, 3, side)
                add(inner, inner, 3, side)
            if inputs != outputs:
                add(inputs, outputs, 1, side)
            inputs = outputs
    if not cifar:
        other += inputs * side**2  # adaptive average pooling
    layers.append((inputs * classes, 1, False))
    return layers, norms, other


def our_sparsity(name: str, width: int) -> float:
    """2 FLOPs per multiply-accumulate, and nothing else."""
    budget = sum(weights * positions for weights, positions, _ in resnet(name, 64)[0])
    fixed = sum(weights * positions for weights, positions, masked in resnet(name, width)[0] if not masked)
    sparse = sum(weights * positions for weights, positions, masked in resnet(name, width)[0] if masked)
    return 1 - (budget - fixed) / sparse


def their_sparsity(name: str, width: int) -> float:
    """The authors' profiler: P (2 |W| - 1) per convolution, 7 N - C per norm, and poolings."""

    def parts(width: int) -> tuple[float, float]:
        layers, norms, other = resnet(name, width)
        sparse = sum(positions * (2 * weights - 1) for weights, positions, masked in layers if masked)
        fixed = sum(positions * (2 * weights - 1) for weights, positions, masked in layers if not masked)
        return fixed + sum(7 * channels * positions - channels for channels, positions in norms) + other, sparse

    budget, (fixed, sparse) = sum(parts(64)), parts(width)
    return 1 - (budget - fixed) / sparse


@cache
def network(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return resnet18_cifar(100) if name == "resnet18_cifar" else getattr(torchvision.models, name)()


CASES = [(name, i) for name in PUBLISHED for i in range(3)]


@pytest.mark.parametrize(("name", "i"), CASES)
def test_the_formula_gives_the_published_values(name: str, i: int) -> None:
    assert their_sparsity(name, WIDTHS[i]) == pytest.approx(PUBLISHED[name][i], abs=2e-5)


@pytest.mark.parametrize(("name", "i"), CASES)
def test_our_convention_gives_slightly_less(name: str, i: int) -> None:
    assert 0 < PUBLISHED[name][i] - our_sparsity(name, WIDTHS[i]) < BELOW[name]


@pytest.mark.parametrize(("name", "i"), [*CASES[:3], ("resnet18", 2), ("resnet34", 0), ("resnet50", 1)])
def test_the_plan_follows_our_convention(name: str, i: int) -> None:
    size = 32 if name == "resnet18_cifar" else 224
    new, plan = sparsify(network(name), SparseWide(rounding="down"), SPARSITIES[i], torch.empty(1, 3, size, size))
    assert new.conv1.out_channels == WIDTHS[i]
    assert 1 - plan.density == pytest.approx(our_sparsity(name, WIDTHS[i]), abs=1e-5)


STORED = {
    "resnet18_cifar": (22.15, 44.76, 111.35),
    "resnet18": (22.8, 45.7, 112.8),
    "resnet34": (42.8, 86.1, 213.5),
    "resnet50": (49.3, 98.0, 240.2),
}


@pytest.mark.parametrize(("name", "i"), CASES)
def test_stored_parameters_are_the_published_ones(name: str, i: int) -> None:
    layers, norms, _ = resnet(name, WIDTHS[i])
    classes = 100 if name == "resnet18_cifar" else 1000
    stored = sum(weights for weights, *_ in layers) + sum(2 * channels for channels, _ in norms) + classes
    assert stored / 1e6 == pytest.approx(STORED[name][i], abs=0.051 if name != "resnet18_cifar" else 0.0051)
