"""The authors' FLOP totals of five networks, exactly, by their way of counting; and what part of them this project
counts.

They count additions, multiplications, comparisons and other operations of convolutions, linears, norms and of those
activations and poolings that are modules in their code: everything but what the FLOPs of this project, 2 for a
multiply-accumulate of convolutions and linears, are about.
"""

from collections import Counter
from functools import cache

import pytest
import torch
import torchvision
from torch import nn

from sparseift.graph.flops import forward_flops
from sparseift.models import MobileNetV2Cifar, resnet18_cifar

NETWORKS = {
    "resnet18_cifar": (lambda: resnet18_cifar(100), 32),
    "resnet18": (torchvision.models.resnet18, 224),
    "resnet34": (torchvision.models.resnet34, 224),
    "resnet50": (torchvision.models.resnet50, 224),
    "mobilenet_v2_cifar": (lambda: MobileNetV2Cifar(100), 32),
}
PUBLISHED = {  # total, multiplications, additions, comparisons, other
    "resnet18_cifar": (1_115_226_800, 557_312_000, 557_910_000, 0, 4_800),
    "resnet18": (3_647_128_359, 1_821_524_992, 1_823_992_935, 1_605_632, 4_800),
    "resnet34": (7_355_270_501, 3_674_976_256, 3_678_680_101, 1_605_632, 8_512),
    "resnet50": (8_257_784_427, 4_122_528_256, 4_133_623_979, 1_605_632, 26_560),
    "mobilenet_v2_cifar": (138_538_103, 67_592_400, 69_312_679, 1_615_936, 17_088),
}
FUNCTIONAL_POOL = {"resnet18_cifar", "mobilenet_v2_cifar"}
"""Networks that pool by a function in the authors' code, which they do not count. So it is with the ReLU of the ResNets
everywhere; the ReLU6 of MobileNetV2 is a module."""


def operations(module: nn.Module, inputs: torch.Tensor, outputs: torch.Tensor, functional_pool: bool) -> dict[str, int]:
    """What the authors count for one call of a module with one sample."""
    n = outputs.numel()
    if isinstance(module, nn.Conv2d | nn.Linear):
        weights, positions = module.weight.numel(), n // module.weight.shape[0]
        # A linear has one product less to add for each output, a convolution one for each position, as they count.
        additions = (weights - 1) * positions if isinstance(module, nn.Conv2d) else weights - n
        biases = 0 if module.bias is None else n
        return {"multiplications": weights * positions, "additions": additions + biases, "macs": weights * positions}
    if isinstance(module, nn.BatchNorm2d):  # as if it computed the statistics of the batch
        channels = module.num_features
        return {"multiplications": 3 * n, "additions": 4 * n - 2 * channels, "other": channels, "normed": n}
    if isinstance(module, nn.MaxPool2d):
        return {"comparisons": (module.kernel_size**2 - 1) * n}
    if isinstance(module, nn.AdaptiveAvgPool2d) and not functional_pool:
        return {"multiplications": n, "additions": inputs.numel() - n, "pooled": n}
    if isinstance(module, nn.ReLU6):
        return {"comparisons": 2 * n}
    return {}


@cache
def network(name: str) -> tuple[nn.Module, torch.Tensor]:
    build, size = NETWORKS[name]
    with torch.device("meta"):
        return build().eval(), torch.empty(1, 3, size, size)


@cache
def counted(name: str) -> Counter[str]:
    net, x = network(name)
    total: Counter[str] = Counter()

    def hook(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        total.update(operations(module, args[0], output, name in FUNCTIONAL_POOL))

    handles = [module.register_forward_hook(hook) for module in net.modules()]
    net(x)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("name", NETWORKS)
def test_totals_are_the_published_ones(name: str) -> None:
    count = counted(name)
    parts = tuple(count[kind] for kind in ("multiplications", "additions", "comparisons", "other"))
    assert (sum(parts), *parts) == PUBLISHED[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_what_we_count_is_all_their_multiplications_but_those_of_norms_and_pooling(name: str) -> None:
    count = counted(name)
    assert forward_flops(*network(name)) == 2 * (PUBLISHED[name][1] - 3 * count["normed"] - count["pooled"])


@pytest.mark.parametrize("name", NETWORKS)
def test_our_total_is_near_theirs(name: str) -> None:
    """They count a little more: 0.4 to 1.0 % for ResNets, 6.7 % for MobileNetV2 with its many norms and activations."""
    ratio = PUBLISHED[name][0] / forward_flops(*network(name))
    assert 1.003 < ratio < (1.067 if name == "mobilenet_v2_cifar" else 1.010)


SIDES = {  # height of the feature maps in front of each stage, and of those in it, at 1/2 from the second stage on
    "resnet18": 56,
    "resnet34": 56,
    "resnet50": 56,
    "resnet18_cifar": 32,
}
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet18_cifar": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}


def resnet_macs(name: str) -> int:
    """Multiply-accumulates of a ResNet (He et al. 2016, Table 1; v1.5), from the formula of its stages."""
    cifar, expansion = name == "resnet18_cifar", 4 if name == "resnet50" else 1
    macs = 9 * 3 * 64 * 32**2 if cifar else 49 * 3 * 64 * 112**2
    inputs = 64
    for stage, depth in enumerate(DEPTHS[name]):
        width, side = 64 * 2**stage, SIDES[name] // 2**stage
        outputs = expansion * width
        before = side if stage == 0 else 2 * side
        if expansion == 1:
            macs += 9 * (inputs * width + (2 * depth - 1) * width**2) * side**2
        else:
            macs += inputs * width * before**2 + (depth - 1) * outputs * width * side**2  # the first 1x1 of each block
            macs += depth * (9 * width**2 + width * outputs) * side**2
        if inputs != outputs:
            macs += inputs * outputs * side**2
        inputs = outputs
    return macs + inputs * (100 if cifar else 1000)


def mobilenet_macs() -> int:
    """The same of MobileNetV2 (Sandler et al. 2018, Table 2) as the authors have it: 34 pixels after a stem of
    1x1 with padding 1."""
    side = 34
    macs, inputs = 3 * 32 * side**2, 32
    for t, outputs, blocks, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 1), (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(blocks):
            after = (side + 1) // 2 if stride == 2 and block == 0 else side
            hidden = t * inputs
            macs += inputs * hidden * side**2 + (9 * hidden + hidden * outputs) * after**2
            inputs, side = outputs, after
    return macs + 320 * 1280 * side**2 + 1280 * 100


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_and_linears_by_formula(name: str) -> None:
    formula = mobilenet_macs() if name == "mobilenet_v2_cifar" else resnet_macs(name)
    assert counted(name)["macs"] == formula
    assert forward_flops(*network(name)) == 2 * formula
