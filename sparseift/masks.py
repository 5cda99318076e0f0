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

from .errors import UserError
from .selection import largest
from .sparsity.plan import Plan

CHUNK = 2**16
"""Weights of each thread that `silence` multiplies at a time: their mask as numbers stays in the cache."""
EIGHTH = 0x0102040810204080
"""Times eight bytes that are 0 or 1, the first one lowest, has these as bits of its highest byte."""


def generator_for(device: torch.device, *key: object) -> torch.Generator:
    """A random generator that depends on `key` alone: the same on every rank, in every process and after a resume."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)


def random_scores(weight: Tensor, seed: int, name: str) -> Tensor:
    """Uniform random numbers from (seed, layer), of the weight's shape; the largest are active at first."""
    generator = generator_for(weight.device, seed, "mask", name)
    return torch.rand(weight.shape, generator=generator, device=weight.device, dtype=torch.float32)


def pack(mask: Tensor) -> Tensor:
    """The bits of a mask, 8 a byte, least significant first. uint8, ceil(numel / 8) long."""
    bits = mask.flatten().to(torch.uint8)
    bits = nn.functional.pad(bits, (0, -bits.numel() % 8))
    return ((bits.view(torch.int64) * EIGHTH) >> 56).to(torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The boolean mask of `shape` that `pack` packed."""
    bits = (packed[:, None] >> torch.arange(8, device=packed.device, dtype=torch.uint8)) & 1
    return bits.flatten()[: prod(shape)].view(shape).bool()


def laid_out_as(like: Tensor, values: Tensor) -> Tensor:
    """A copy of `values` on the device and in the memory layout of a tensor of the same shape."""
    return torch.empty_like(like, dtype=values.dtype, requires_grad=False).copy_(values)


@torch.no_grad()
def silence(values: Tensor, mask: Tensor) -> None:
    """Multiply by a boolean mask, in place: what is masked becomes zero, unless it is infinite or NaN.

    Accelerators convert masks as they multiply. A CPU is fastest at multiplying numbers of one type, so there the mask
    is made such numbers piece by piece.
    """
    bits = mask.view(torch.uint8)  # a bool is checked for values other than 0 and 1
    if not values.is_cpu or values.stride() != bits.stride():
        values.mul_(bits)
        return
    size = CHUNK * torch.get_num_threads()
    numbers = torch.empty(min(size, values.numel()), dtype=values.dtype)
    flat = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (values, bits))
    for part, ones in zip(*(tensor.split(size) for tensor in flat), strict=True):
        part.mul_(numbers[: ones.numel()].copy_(ones))


@torch.no_grad()
def clear(values: Tensor, mask: Tensor) -> None:
    """`silence`, and no zero stays negative: checkpoints would have to mark those."""
    silence(values, mask)
    values.add_(0.0)


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
