"""Networks that train in no time, chosen with model._target_=tiny_nets.NAME; arguments as of resnet18_cifar."""

import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn


def dropout(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """Draws random numbers while it trains."""
    return _net(num_classes, in_channels, base_width, nn.BatchNorm2d, nn.Dropout(0.3))


def normless(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """Computes every image by itself: gradients of a batch are the mean of those of its parts."""
    return _net(num_classes, in_channels, base_width, nn.Identity, nn.Identity())


def trained(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """Has weights that are not those of a new network, as with `pretrained=True`."""
    net = normless(num_classes, in_channels, base_width, zero_init_residual)
    net[1] = nn.BatchNorm2d(base_width)
    nn.init.uniform_(net[1].weight, 0.5, 2)
    return net


def forgetful(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """Gives nothing but zeros after 20 steps of training, so the best epoch of QUICK is one of the first two."""
    net = _net(num_classes, in_channels, base_width, nn.BatchNorm2d, nn.Identity())
    return nn.Sequential(*net, Forget(after=20))


class Forget(nn.Module):
    def __init__(self, after: int):
        super().__init__()
        self.after = after
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return x * (self.steps <= self.after)


def tells(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """`normless` that prints what its process was given of the machine."""
    print("given", os.environ["CUDA_VISIBLE_DEVICES"], torch.get_num_threads())
    return normless(num_classes, in_channels, base_width, zero_init_residual)


def slow(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """`normless` that says in files that it is built and that it trains, and takes its time as long as there is a file
    `slow`."""
    Path("built").touch()
    if Path("slow").exists():
        time.sleep(3)
    return nn.Sequential(*normless(num_classes, in_channels, base_width, zero_init_residual), Slow())


class Slow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:  # a step: the code of training is also traced, before there is one
            Path("training").touch()
            if Path("slow").exists():
                time.sleep(3)
        return x


def fails_on(rank: int, num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """`normless` that raises in the fifth training step of one rank."""
    return nn.Sequential(*normless(num_classes, in_channels, base_width, zero_init_residual), FailOn(rank))


class FailOn(nn.Module):
    def __init__(self, rank: int):
        super().__init__()
        self.rank, self.steps = rank, 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += x.requires_grad
        if self.steps == 5 and int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0))) == self.rank:
            raise RuntimeError(f"rank {self.rank} fails on purpose")
        return x


def nan_when_evaluated(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """`normless` that trains, but gives nothing but NaN afterwards."""
    return nn.Sequential(*normless(num_classes, in_channels, base_width, zero_init_residual), NanWhenEvaluated())


class NanWhenEvaluated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else x * torch.nan


def too_large(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """`normless` that needs 2^60 bytes when it trains."""
    return nn.Sequential(*normless(num_classes, in_channels, base_width, zero_init_residual), TooLarge())


class TooLarge(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.new_empty(2**58)[0] if x.requires_grad and not x.is_meta else x


def layerdrop(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """Skips each of two layers in half of the steps."""
    return nn.Sequential(
        nn.Conv2d(in_channels, base_width, 3, padding=1),
        *(Skipped(nn.Conv2d(base_width, base_width, 3, padding=1)) for _ in range(2)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(base_width, num_classes),
    )


class Skipped(nn.Module):
    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x).relu() if not self.training or torch.rand(()) > 0.5 else x


def _net(num_classes: int, in_channels: int, width: int, norm: type[nn.Module], noise: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        norm(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1, stride=2),
        norm(2 * width),
        nn.ReLU(),
        noise,
        nn.Conv2d(2 * width, 4 * width, 3, padding=1),
        norm(4 * width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, num_classes),
    )


def residual(num_classes: int, in_channels: int, base_width: int, zero_init_residual: bool) -> nn.Module:
    """Four residual blocks of linear layers for images of 8 x 8 pixels."""
    width = base_width
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(in_channels * 64, width),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        *(Residual(width) for _ in range(4)),
        nn.Linear(width, num_classes),
    )


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.bn1, self.bn2 = (nn.BatchNorm1d(width) for _ in range(2))
        self.relu = nn.ReLU()
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.bn2(self.fc2(self.relu(self.bn1(self.fc1(x))))))
