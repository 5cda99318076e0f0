"""A small network with one layer of every awkward kind, and one step of a plain training loop."""

from collections.abc import Callable
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, Plan
from sparseift.sparsifiers import Sparsifier, Update
from sparseift.sparsity import LayerPlan

from .helpers import updated

ACTIVE = {"first": 41, "dead": 200, "dense": 80, "single": 1, "pair": 1, "unused": 3}


class Awkward(nn.Module):
    """first: some active weights are exactly 0. dead: every other channel has zero gradient. dense: a mask
    of ones. single, pair: one active weight, of one and of two. unused: no gradient at all."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.dead = nn.Conv2d(8, 10, (3, 3), groups=2)
        self.dense = nn.Linear(10, 8)
        self.single = nn.Linear(1, 1)
        self.pair = nn.Linear(2, 1)
        self.unused = nn.Linear(3, 3)
        with torch.no_grad():
            self.first.weight.view(-1)[::3] = 0
            self.dead.bias[::2] = -1000
            self.single.weight.fill_(1)
            self.pair.weight.fill_(0.5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.dead(self.norm(self.first(images)).relu()).relu().mean((2, 3))
        logits = self.dense(features)
        return logits + self.single(logits[:, :1]).tanh() * self.pair(logits[:, 1:3])


class Loop:
    """The network, its masks and an optimizer; `step` trains one batch that depends on the step alone."""

    def __init__(self, optimizer: Callable[..., torch.optim.Optimizer], dtype: torch.dtype, **options: object) -> None:
        torch.manual_seed(0)
        self.net = Awkward().to(dtype)
        self.dtype = dtype
        shapes = {name: tuple(self.net.get_submodule(name).weight.shape) for name in ACTIVE}
        layers = (LayerPlan(name, shapes[name], prod(shapes[name]), ACTIVE[name], 2, True) for name in ACTIVE)
        self.masks = Masks.random(self.net, Plan(tuple(layers), 1, 1), seed=0)
        self.masks.apply()
        self.optimizer = optimizer(self.net.parameters(), **options)

    def backward(self, step: int, forward: Callable[[Tensor], Tensor] | None = None) -> None:
        """Gradients of one batch. forward: the network in another guise."""
        self.optimizer.zero_grad()
        self.accumulate(step, self.net if forward is None else forward)

    def accumulate(self, step: int, forward: Callable[[Tensor], Tensor]) -> None:
        data = torch.Generator().manual_seed(step)
        images = torch.randn(16, 3, 6, 6, generator=data).to(self.dtype)
        labels = torch.randint(8, (16,), generator=data)
        F.cross_entropy(forward(images).float(), labels).backward()

    def step(self, sparsifier: Sparsifier, step: int, total: int, seed: int = 0) -> int:
        """As a user of the library writes it. Returns how many weights moved."""
        self.backward(step)
        moved = 0
        if sparsifier.due(step, total):
            moved = updated(sparsifier, self.masks, [self.optimizer], Update(step, total, seed))
        self.masks.mask_gradients()
        self.optimizer.step()
        return moved

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Value, gradient and whatever the optimizer keeps for every single weight of a layer."""
        weight = self.masks.weights[name]
        state = {k: v for k, v in self.optimizer.state.get(weight, {}).items() if isinstance(v, Tensor) and v.dim()}
        gradient = {} if weight.grad is None else {"gradient": weight.grad}
        return {"value": weight.detach(), **gradient, **state}


@pytest.fixture
def active() -> dict[str, int]:
    return dict(ACTIVE)


@pytest.fixture
def loop() -> Callable[..., Loop]:
    def build(optimizer=torch.optim.SGD, dtype: torch.dtype = torch.float32, **options: object) -> Loop:
        return Loop(optimizer, dtype, **options)

    return build
