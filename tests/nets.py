"""Small networks, their parts and their inputs for the tests."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOCAL = ["sparse_parallel", "sparse_factorized", "sparse_doped"]
MEMBERS = ["sparse_wide", *LOCAL]

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
"""Images that the networks take."""


def conv(inputs: int, outputs: int, kernel: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


class Net(nn.Module):
    """A network from its parts and its forward function."""

    def __init__(self, run, **parts: nn.Module):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *args, **kwargs):
        return self.run(self, *args, **kwargs)


def plain() -> Net:
    """Activations are functions."""
    return Net(
        lambda m, x: m.head(F.relu(m.b(F.relu(m.a(F.relu(m.stem(x)))))).mean((2, 3))),
        stem=conv(3, 8), a=conv(8, 8), b=conv(8, 8), head=nn.Linear(8, 5),
    )  # fmt: skip


def between(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv(3, 8), *middle, nn.ReLU(), conv(8, 8), conv(8, 2))


class NormAct(nn.BatchNorm2d):
    """A norm that applies an activation itself, by a module if it is given one and else by a function (timm)."""

    def __init__(self, channels: int, act: nn.Module | None = None):
        super().__init__(channels)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return self.act(x) if self.act else F.gelu(x)


LAYERS = {
    "plain": nn.Conv2d(8, 12, 3),
    "strided": nn.Conv2d(8, 12, 3, stride=(2, 1), padding=(1, 0)),
    "dilated": nn.Conv2d(8, 12, 3, padding=2, dilation=2, bias=False),
    "grouped": nn.Conv2d(8, 12, 3, groups=4, padding=1),
    "reflect": nn.Conv2d(8, 12, 3, padding=(1, 2), padding_mode="reflect"),
    "circular": nn.Conv2d(8, 12, (3, 1), padding=(1, 0), padding_mode="circular"),
    "same": nn.Conv2d(8, 12, 5, padding="same"),
    "one": nn.Conv1d(8, 12, 3, stride=2),
    "three": nn.Conv3d(8, 12, (1, 3, 3), groups=2),
    "linear": nn.Linear(8, 12),
    "linear without bias": nn.Linear(8, 12, bias=False),
}
"""Layers of every kind, from 8 channels to 12."""
