"""The benchmark network: ResNet-18 for small images, by default transformed by Sparse Wide at 0.75."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, sparsify
from sparseift.models import resnet18_cifar

from .harness import Scale

CLASSES = 100
SGD = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}


@dataclass
class Training:
    """A network with masks, an optimizer and one batch of noise. Each part of a training step is a method, so that it
    can be timed alone."""

    net: nn.Module
    masks: Masks
    optimizer: torch.optim.Optimizer
    images: Tensor
    labels: Tensor
    gradients: dict[str, Tensor] = field(default_factory=dict)

    def backward(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.net(self.images), self.labels).backward()

    def step(self) -> None:
        """Take a training step without masks."""
        self.backward()
        self.optimizer.step()

    def masked_step(self) -> None:
        self.backward()
        self.masks.mask_gradients()
        self.optimizer.step()

    def keep_gradients(self) -> None:
        self.gradients = {name: weight.grad.clone() for name, weight in self.masks.weights.items()}

    def before_update(self) -> None:
        """Restore the kept gradients and change the weights: with the same weights, a second update would move
        nothing."""
        for name, weight in self.masks.weights.items():
            weight.grad.copy_(self.gradients[name])
        self.optimizer.step()
        self.masks.apply()  # neither the step without masks nor this one masks its gradients


def training(
    scale: Scale,
    width: int = 64,
    batch: int = 64,
    sparsity: float | None = 0.75,
    layout: torch.memory_format = torch.contiguous_format,
) -> Training:
    """Return a ResNet-18 of base width `width`, transformed by Sparse Wide: at sparsity 0.75 it has twice the width.

    Without a sparsity, the network is dense and has no masks.
    """
    width, batch, image = scale(width, 8), scale(batch, 4), scale(32, 8)
    torch.manual_seed(0)
    net = resnet18_cifar(CLASSES, 3, width, zero_init_residual=False)
    images = torch.randn(batch, 3, image, image).to(memory_format=layout)
    plan = None
    if sparsity is not None:
        net, plan = sparsify(net, "sparse_wide", sparsity, images)
    net = net.train().to(memory_format=layout)
    masks = Masks.random(net, plan, seed=0) if plan else Masks(net, {})
    masks.apply()
    optimizer = torch.optim.SGD(net.parameters(), **SGD, fused=True)
    return Training(net, masks, optimizer, images, torch.randint(CLASSES, (batch,)))
