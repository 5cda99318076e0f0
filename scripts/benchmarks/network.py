"""The benchmark networks, by default transformed by Sparse Wide at 0.75: ResNet-18 for small images, and a GPT."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, sparsify
from sparseift.masks.patterns import Pattern
from sparseift.models import GPT, resnet18_cifar

from .harness import Scale

CLASSES = 100
ADAMW = {"lr": 6e-4, "betas": (0.9, 0.95), "weight_decay": 0.1}
"""Of GPT-3 Small (Brown et al. 2020, appendix B)."""

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
    pattern: Pattern | None = None,
) -> Training:
    """Return a ResNet-18 of base width `width`, transformed by Sparse Wide: at sparsity 0.75 it has twice the width.

    Without a sparsity, the network is dense and has no masks. Masks are unstructured without a pattern.
    """
    width, batch, image = scale(width, 8), scale(batch, 4), scale(32, 8)
    torch.manual_seed(0)
    net = resnet18_cifar(CLASSES, 3, width, zero_init_residual=False)
    images = torch.randn(batch, 3, image, image).to(memory_format=layout)
    plan = None
    if sparsity is not None:
        net, plan = sparsify(net, "sparse_wide", sparsity, images)
    net = net.train().to(memory_format=layout)
    plan = pattern.plan(plan) if pattern and plan else plan
    masks = Masks.random(net, plan, seed=0, pattern=pattern) if plan else Masks(net, {})
    masks.apply()
    net.to(scale.device)
    masks.to_weights()
    optimizer = torch.optim.SGD(net.parameters(), **SGD, fused=True)
    labels = torch.randint(CLASSES, (batch,))
    return Training(net, masks, optimizer, images.to(scale.device), labels.to(scale.device))


@dataclass
class LanguageTraining(Training):
    """A language model. `images` are tokens, (N, T), and `labels` those that follow them."""

    def backward(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.net(self.images).flatten(0, 1), self.labels.flatten()).backward()


def language_training(
    scale: Scale, width: int = 256, layers: int = 4, vocabulary: int = 4096, sparsity: float | None = 0.75
) -> LanguageTraining:
    """Return a GPT, by default of the proportions of GPT-3 Small at a third of its width, with 4 of its 12 layers and a
    quarter of its context, transformed by Sparse Wide, and AdamW.

    Without a sparsity, the network is dense and has no masks.
    """
    width, layers, length, vocabulary = scale(width, 32), scale(layers, 1), scale(256, 16), scale(vocabulary, 64)
    torch.manual_seed(0)
    tokens = torch.randint(vocabulary, (8, length + 1))
    net: nn.Module = GPT(vocabulary, length, layers, width, heads=width // scale(64, 16))
    plan = None
    if sparsity is not None:
        net, plan = sparsify(net, "sparse_wide", sparsity, tokens[:, :-1])
    masks = Masks.random(net, plan, seed=0) if plan else Masks(net, {})
    masks.apply()
    net.to(scale.device)
    masks.to_weights()
    tokens = tokens.to(scale.device)
    optimizer = torch.optim.AdamW(net.parameters(), **ADAMW, fused=True)
    return LanguageTraining(net.train(), masks, optimizer, tokens[:, :-1], tokens[:, 1:])
