"""The masks themselves: exact counts, kept beside the weights that they silence.

A masked weight is exactly zero in the weight tensor, so the network runs as it is and its state dict is a plain one.
Masking the gradients once a step keeps it so: momentum, weight decay and update of a masked weight are then all zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod
from zlib import crc32

import torch
from torch import Tensor, nn

from ..common.seeds import generator_for
from ..errors import UserError
from ..sparsity.plan import Plan
from .bits import pack, unpack
from .inplace import clear, laid_out_as, silence
from .topk import largest


def random_scores(weight: Tensor, seed: int, name: str) -> Tensor:
    """Uniform random numbers from (seed, layer), of the weight's shape; the largest are active at first."""
    generator = generator_for(weight.device, seed, "mask", name)
    return torch.rand(weight.shape, generator=generator, device=weight.device, dtype=torch.float32)


class Masks:
    """One mask per masked layer of a network, by layer name, of the shape of its weight.

    active: the number of ones of each mask as it is now. planned: the same of the masks as they were made, with which
    every run ends that changes them while it trains.
    """

    def __init__(self, net: nn.Module, masks: Mapping[str, Tensor]):
        self.weights: dict[str, nn.Parameter] = {name: net.get_submodule(name).weight for name in masks}
        self._masks: dict[str, Tensor] = {}
        self.active: dict[str, int] = {}
        for name, mask in masks.items():
            self[name] = mask
        self.planned = dict(self.active)

    @classmethod
    def random(
        cls, net: nn.Module, plan: Plan, seed: int, choose: Callable[[Tensor, int], Tensor] | None = None
    ) -> Masks:
        """Masks with exactly the planned number of ones, at places drawn uniformly from (seed, layer). choose: marks as
        many of a layer's random numbers, the largest by default (see `sparsifiers.patterns`)."""
        choose = choose or largest
        drawn = {name: random_scores(net.get_submodule(name).weight, seed, name) for name in plan.masked}
        return cls(net, {name: choose(drawn[name], layer.active) for name, layer in plan.masked.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, name: str) -> Tensor:
        """The mask of a layer: boolean, of the shape of its weight. It is not copied, and stays as it is when the layer
        gets another one."""
        return self._masks[name]

    def __setitem__(self, name: str, mask: Tensor) -> None:
        """A copy of `mask`, laid out in memory as the weight is."""
        own = laid_out_as(self.weights[name], mask.bool())
        self._masks[name] = own
        self.active[name] = int(own.count_nonzero())

    def to_weights(self) -> None:
        """Every mask to the device and in the memory layout of its weight."""
        self._masks = {name: laid_out_as(self.weights[name], mask) for name, mask in self._masks.items()}

    def apply(self) -> None:
        """Set the masked weights to zero."""
        for name, weight in self.weights.items():
            clear(weight, self._masks[name])

    def mask_gradients(self) -> None:
        """Set the gradients of the masked weights to zero, as long as they are finite: steps with gradients that are
        not are skipped, as loss scalers do, or lost with or without masks."""
        for name, weight in self.weights.items():
            if weight.grad is not None:
                silence(weight.grad, self._masks[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Packed bits by layer name."""
        return {name: pack(mask) for name, mask in self._masks.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], active: Mapping[str, int] | None = None) -> None:
        """Take over packed masks. active: their counts, where they are not the planned ones. Raises UserError if they
        are for other layers, shapes or counts."""
        active = active or self.planned
        if state.keys() != self._masks.keys():
            strange = sorted(state.keys() ^ self._masks.keys())[0]
            raise UserError(f"the saved masks are of another network: {strange} is masked in only one of the two")
        loaded = {}
        for name, packed in state.items():
            shape = tuple(self.weights[name].shape)
            if packed.numel() != -(-prod(shape) // 8):
                raise UserError(f"the saved mask of {name} does not fit a weight of shape {shape}")
            loaded[name] = unpack(packed.to(self.weights[name].device), shape)
            count = int(loaded[name].count_nonzero())
            if count != active[name]:
                raise UserError(
                    f"the saved mask of {name} has {count} active weights, not {active[name]}: sparsity differs"
                )
        for name, mask in loaded.items():
            self[name] = mask

    @property
    def density(self) -> float:
        """Share of active weights in the masked layers."""
        return sum(self.active.values()) / sum(weight.numel() for weight in self.weights.values())

    def counted(self, plan: Plan) -> Plan:
        """The plan with as many active weights as these masks have now."""
        layers = (replace(layer, active=self.active.get(layer.name, layer.active)) for layer in plan.layers)
        return replace(plan, layers=tuple(layers))

    def checksums(self) -> dict[str, int]:
        """32 bits of each mask, by layer name: enough to tell masks apart that should be the same."""
        return {name: crc32(packed.cpu().numpy()) for name, packed in self.state_dict().items()}

    def sha256(self) -> str:
        """Hash of all masks, in the order of the layers."""
        digest = hashlib.sha256()
        for name, packed in self.state_dict().items():
            digest.update(name.encode())
            digest.update(packed.cpu().numpy().tobytes())
        return digest.hexdigest()
