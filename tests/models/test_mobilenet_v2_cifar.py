"""MobileNetV2 for CIFAR, layer by layer. Its published totals are in tests/fidelity."""

import pytest
import torch
from torch import nn

from sparseift.models import MobileNetV2Cifar

TABLE_2 = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
"""Expansion, channels and blocks of each stage (Sandler et al. 2018, Table 2)."""


def layer(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> int:
    """Parameters of a convolution with bias."""
    return outputs * (inputs // groups) * kernel**2 + outputs


def norm(channels: int) -> int:
    return 2 * channels


def test_parameters_by_hand() -> None:
    total, inputs = layer(3, 32) + norm(32), 32
    for expansion, outputs, blocks in TABLE_2:
        for _ in range(blocks):
            hidden = expansion * inputs
            total += layer(inputs, hidden) + norm(hidden) + layer(hidden, hidden, 3, groups=hidden) + norm(hidden)
            total += layer(hidden, outputs) + norm(outputs)
            inputs = outputs
    total += layer(320, 1280) + norm(1280) + layer(1280, 100)
    with torch.device("meta"):
        net = MobileNetV2Cifar(num_classes=100)
    assert sum(p.numel() for p in net.parameters()) == total == 2_369_380


def test_resolution_of_every_stage() -> None:
    """34 pixels after the padding of the stem; 17, 9 and 5 after the halvings."""
    with torch.device("meta"):
        net = MobileNetV2Cifar(num_classes=10).eval()
        x, sides = net.stem(torch.empty(1, 3, 32, 32)), []
        for block in net.blocks:
            x = block(x)
            sides.append(x.shape[-1])
    assert sides == [34] + [17] * 2 + [9] * 3 + [5] * (4 + 3 + 3 + 1)


def test_blocks_with_equal_ends_are_residual() -> None:
    torch.manual_seed(0)
    net = MobileNetV2Cifar(num_classes=10).eval()
    shortcuts = 0
    for block in net.blocks:
        first, last = block.residual[0], block.residual[-1]
        x = torch.rand(1, first.in_channels, 6, 6)
        nn.init.zeros_(last.weight)  # silences the branch
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            y = block(x)
        if y.shape == x.shape:
            shortcuts += 1
            assert torch.equal(y, x)
        else:
            assert not y.any()
    assert shortcuts == sum(blocks - 1 for _, _, blocks in TABLE_2)


@pytest.mark.parametrize("channels", [1, 3])
def test_any_channels_and_classes(channels: int) -> None:
    with torch.device("meta"):
        net = MobileNetV2Cifar(num_classes=7, in_channels=channels)
        assert net(torch.empty(2, channels, 28, 28)).shape == (2, 7)
