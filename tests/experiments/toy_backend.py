"""A backend as a user writes it: computes masked layers from weights without their masked part, and notes all calls."""

from collections.abc import Iterable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks
from sparseift.masks.patterns import Pattern


class Toy:
    """Gradients of masked weights are zero but in steps for which dense gradients are wanted.

    refuse: name of the class of pattern that it cannot compute.
    """

    def __init__(self, refuse: str = "") -> None:
        self.refuse = refuse
        self.asked: list[nn.Module] = []
        self.calls: list[tuple] = []
        self.wanted = False

    def refusal(self, layer: nn.Module, pattern: Pattern) -> str | None:
        self.asked.append(layer)
        return f"it has no kernel for {pattern}" if type(pattern).__name__ == self.refuse else None

    def attach(self, net: nn.Module, masks: Masks) -> None:
        assert not any(weight[~masks[name]].any() for name, weight in masks.weights.items())
        self.masks, self.seen = masks, {name: masks[name] for name in masks}
        for name in masks:
            layer = net.get_submodule(name)
            layer.forward = partial(self.forward, name, layer)
        self.calls.append(("attach", set(masks)))

    def forward(self, name: str, layer: nn.Conv2d, inputs: Tensor) -> Tensor:
        weight = layer.weight if self.wanted else layer.weight * self.masks[name]
        return F.conv2d(inputs, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)

    def moved(self, names: Iterable[str]) -> None:
        changed = {name for name in self.masks if not self.masks[name].equal(self.seen[name])}
        assert set(names) == changed
        self.seen = {name: self.masks[name] for name in self.masks}
        self.calls.append(("moved", changed))

    def dense_gradients(self, wanted: bool) -> None:
        self.wanted = wanted
        self.calls.append(("dense gradients", wanted))

    def mask_gradients(self) -> None:
        self.masks.mask_gradients()
        self.calls.append(("mask gradients",))

    def detach(self, net: nn.Module) -> None:
        for name in self.masks:
            del net.get_submodule(name).forward
        self.calls.append(("detach",))


class Leaky(Toy):
    """Forgets to mask gradients."""

    def mask_gradients(self) -> None:
        pass

    def forward(self, name: str, layer: nn.Conv2d, inputs: Tensor) -> Tensor:
        self.wanted = True
        return super().forward(name, layer, inputs)
