"""The masks of a network, stored beside its weights.

A masked weight is exactly zero in the weight tensor, so the network runs as it is and its state dict is a plain one.
Masking the gradients once a step keeps it zero: momentum, weight decay and update of a masked weight are then all zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from math import prod

import torch
from torch import Tensor, nn

from ..common.checks import require
from ..common.seeds import generator_for
from ..errors import UserError
from ..sparsity import Plan
from .bits import checksum, pack, unpack
from .inplace import laid_out_as, mask_all_in_place, mask_in_place, values_of
from .optimizers import parameters_of, restart
from .patterns import Pattern, Unstructured
from .second_moments import matched
from .sharded import anywhere, is_sharded, joined, local, part_of, summed, whole, whole_parameter

OF_ONE_NETWORK = (
    "expected masks and an optimizer of one network, not of its copy, made after parameters have been replaced"
)


def random_scores(weight: Tensor, seed: int, name: str) -> Tensor:
    """Return uniform random scores of the weight's shape, which depend on (seed, layer name) alone."""
    generator = generator_for(seed, "mask", name)  # of the CPU, so that they are the same on every device
    return torch.rand(weight.shape, generator=generator, device="cpu", dtype=torch.float32).to(weight.device)


def _copies(weights: Mapping[str, Tensor]) -> set[str]:
    """The layers whose weights another layer has, too."""
    alike: dict[tuple, list[str]] = {}
    for name, weight in weights.items():
        alike.setdefault((weight.shape, float(whole(weight.detach()).double().sum())), []).append(name)
    return {name for names in alike.values() if len(names) > 1 for name in names}


class Masks:
    """A mapping from the names of the masked layers to their masks, which have the shapes of the weights.

    Of a weight that is sharded over ranks (see `sharded`), each rank stores the same part of the mask. Reading and
    changing masks then gathers one layer at a time, and must be done on all ranks.

    Args:
        net: The network.
        masks: Initial masks, nonzero where a weight is active.
        pattern: Pattern that all masks follow; unstructured by default.

    Attributes:
        layers: Masked layers, by name.
        active: Number of active weights of each layer.
        planned: Number of active weights of each layer in the initial masks. Sparsifiers that prune end with it.
        moves: Number of calls of `move` that changed the mask, by layer.
        by_magnitude: Whether initial masks keep the largest weights instead of random ones.
    """

    def __init__(self, net: nn.Module, masks: Mapping[str, Tensor], pattern: Pattern | None = None):
        self.layers: dict[str, nn.Module] = {name: net.get_submodule(name) for name in masks}
        shared = {id(weight): name for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            if (other := shared[id(weight)]) != name:
                raise UserError(
                    f"{name} and {other} share one weight, which can have only one mask; exclude one of them"
                )
        self.pattern = pattern or Unstructured()
        self._masks: dict[str, Tensor] = {}  # the parts that this rank stores
        self._checksums: dict[str, Tensor] = {}  # of whole masks of which this rank stores a part
        self.active: dict[str, int] = {}
        for name, mask in masks.items():
            self[name] = mask
        self.planned = dict(self.active)
        self.moves = dict.fromkeys(masks, 0)
        self.by_magnitude = False

    @classmethod
    def random(cls, net: nn.Module, plan: Plan, seed: int, pattern: Pattern | None = None) -> Masks:
        """Return random masks with exactly the planned number of active weights in each layer.

        Args:
            net: The network.
            plan: A plan that the pattern allows (see `Pattern.plan`).
            seed: Seed of the masks.
            pattern: Pattern of the masks; unstructured by default.

        Raises:
            UserError: The pattern gives masks of another shape or number of active weights.
        """
        return cls._initial(net, plan, seed, pattern, by_magnitude=False)

    @classmethod
    def largest(cls, net: nn.Module, plan: Plan, seed: int, pattern: Pattern | None = None) -> Masks:
        """Return masks that keep the largest weights of each layer.

        Layers with equal weights, such as the branches of Sparse Parallel, would stay equal with equal masks. They
        get random masks instead, which keep a weight with a probability in proportion to its magnitude.

        Args, Raises: See `random`.
        """
        return cls._initial(net, plan, seed, pattern, by_magnitude=True)

    @classmethod
    def _initial(cls, net: nn.Module, plan: Plan, seed: int, pattern: Pattern | None, by_magnitude: bool) -> Masks:
        weights = {name: _weight(name, net.get_submodule(name)) for name in plan.masked}
        masks = cls(net, {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}, pattern)
        masks.by_magnitude = by_magnitude
        masks.planned = {name: layer.active for name, layer in plan.masked.items()}
        masks.choose(masks.planned, seed)
        return masks

    def choose(self, counts: Mapping[str, int], seed: int) -> None:
        """Set initial masks with these numbers of active weights, by layer.

        Raises:
            UserError: The pattern gives masks of another shape or number of active weights.
        """
        copies = _copies(self.weights) if self.by_magnitude else set()
        for name, count in counts.items():
            if not self.by_magnitude:
                scores = random_scores(self._weight(name), seed, name)
            else:
                scores = self.whole_weight(name).detach().abs()
                if name in copies:
                    scores /= -random_scores(scores, seed, name).log()
            self[name] = self.pattern.largest(scores, count)
            found = self.active[name]
            require(found == count, f"the number of active weights of {name}", found, f"{count}, as planned")

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """Present weights of the masked layers, by name: a parameter that another one has replaced is not among them.

        Raises:
            UserError: A weight is not a parameter, but computed from others.
        """
        return {name: _weight(name, layer) for name, layer in self.layers.items()}

    def _weight(self, name: str) -> nn.Parameter:
        return _weight(name, self.layers[name])

    def __repr__(self) -> str:
        stored = sum(weight.numel() for weight in self.weights.values())
        active = sum(self.active.values())
        share = f", density {active / stored:.4f}" if stored else ""
        return f"Masks({len(self)} layers, {active:,} of {stored:,} weights active{share})"

    def whole_weight(self, name: str, gradient: bool = False) -> Tensor:
        """Return the weight of a layer: the parameter itself, or a copy of one that is sharded over ranks.

        Args:
            gradient: Whether the copy needs the gradient.
        """
        return whole_parameter(self._weight(name), gradient)

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, name: str) -> Tensor:
        """Return the boolean mask of a layer, not a copy. It does not change when the layer gets another mask."""
        return joined(self._weight(name), self._masks[name])

    def __setitem__(self, name: str, mask: Tensor) -> None:
        """Store a copy of `mask` in the memory layout of the weight.

        Raises:
            UserError: It has another shape than the weight.
        """
        self._check_shape(name, mask)
        mask = whole(mask).bool()
        self._masks[name] = self._stored(name, mask)
        self.active[name] = int(mask.count_nonzero())

    def _stored(self, name: str, mask: Tensor) -> Tensor:
        """A copy of what this rank stores of a mask."""
        weight = self._weight(name)
        if is_sharded(weight):
            self._checksums[name] = checksum(mask.to(weight.device))
        return laid_out_as(local(weight), part_of(weight, mask))

    def to_weights(self) -> None:
        """Move every mask to the device and the memory layout of its weight. Of a sharded weight, keep a part."""
        for name, weight in self.weights.items():
            mask, mine = self._masks[name], local(weight)
            if mask.shape == weight.shape != mine.shape:  # the weight has been sharded since
                self._masks[name] = self._stored(name, mask)
            elif (mask.device, mask.stride()) != (mine.device, mine.stride()):
                self._masks[name] = laid_out_as(mine, mask)

    @property
    def nbytes(self) -> int:
        """Bytes of the masks that this rank stores."""
        return sum(mask.nbytes for mask in self._masks.values())

    def apply(self) -> None:
        """Set the masked weights to zero."""
        mask_all_in_place((local(weight), self._masks[name]) for name, weight in self.weights.items())

    @torch.no_grad()
    def move(
        self,
        name: str,
        new: Tensor,
        optimizers: Iterable[torch.optim.Optimizer],
        match: bool = False,
        dense_gradient: bool = False,
    ) -> None:
        """Replace the mask of a layer during training, between the backward pass and `mask_gradients`.

        Weights that stay active keep their value and optimizer state. All other weights become zero, with the optimizer
        state of a new parameter, such as a momentum of zero. The gradients of grown weights become zero, so that the
        next step is the first to change them.

        Args:
            name: Name of the layer.
            new: New mask, boolean, of the shape of the weight.
            optimizers: Optimizers of the network.
            match: Whether grown weights start with second moments as large as those of the other weights, if the
                optimizer keeps second moments as Adam does (see `second_moments.matched`).
            dense_gradient: Whether the gradient of the weight holds those of masked weights, which `match` then reads.

        Raises:
            UserError: The new mask has another shape than the weight, or the optimizer state can't start anew.
        """
        self._check_shape(name, new)
        weight, count = self._weight(name), self.active[name]
        new = self._stored(name, new.bool())
        stay = self._masks[name] & new
        unchanged, self.active[name] = values_of(summed(weight, mask.count_nonzero()) for mask in (stay, new))
        optimizers = list(optimizers)
        starts = list(matched(optimizers, weight, count, weight.grad if dense_gradient else None)) if match else []
        mask_in_place(local(weight), stay)
        restart(optimizers, weight, stay)
        for start in starts:
            start.set(new & ~stay)
        if weight.grad is not None:
            mask_in_place(local(weight.grad), stay.logical_or_(~new))
        self._masks[name] = new
        self.moves[name] += not unchanged == count == self.active[name]

    def mask_gradients(self, names: Iterable[str] | None = None) -> None:
        """Set the gradients of the masked weights of these layers, by default all, to zero."""
        weights = ((name, self._weight(name)) for name in (self if names is None else names))
        graded = ((name, weight.grad) for name, weight in weights if weight.grad is not None)
        mask_all_in_place((local(gradient), self._masks[name]) for name, gradient in graded)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the masks as packed bits, by layer name."""
        return {name: pack(self[name]) for name in self}

    def load_state_dict(self, state: Mapping[str, Tensor], active: Mapping[str, int] | None = None) -> None:
        """Load packed masks.

        Args:
            state: Packed masks by layer name.
            active: Expected number of active weights of each layer; the planned one by default.

        Raises:
            UserError: The layers, shapes or numbers of active weights differ.
        """
        active = active or self.planned
        if state.keys() != self._masks.keys():
            strange = sorted(state.keys() ^ self._masks.keys())[0]
            raise UserError(f"the saved masks belong to another network: {strange} is masked in only one of the two")
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

    @torch.no_grad()
    def nonzero_outside(self) -> list[str]:
        """Return the layers with masked weights that are not zero."""
        parts = ((name, weight, local(weight)) for name, weight in self.weights.items())
        outside = (anywhere(weight, (mine != 0).logical_and_(~self._masks[name]).any()) for name, weight, mine in parts)
        return [name for name, wrong in zip(self, values_of(outside), strict=True) if wrong]

    def check(self, optimizers: Iterable[torch.optim.Optimizer], net: nn.Module | None = None) -> None:
        """Raise an error unless the masked weights are those that train, and zero. Synchronizes with the device.

        Args:
            optimizers: See `check_trained`.
            net: See `check_trained`.

        Raises:
            UserError: The masked weights are not those that train, or not zero.
        """
        self.check_trained(optimizers, net)
        if wrong := self.nonzero_outside():
            raise UserError(
                f"masked weights of {', '.join(wrong)} are not zero; expected a call of Masks.apply after weights are "
                "loaded, and after each step of an optimizer that mixes weights, such as Muon"
            )

    def check_trained(self, optimizers: Iterable[torch.optim.Optimizer], net: nn.Module | None = None) -> None:
        """Raise an error unless the masked weights are those that train.

        Args:
            optimizers: All optimizers of the training, if it has any. They need not contain frozen weights.
            net: The network that trains.

        Raises:
            UserError: A weight has another shape than its mask, is not a parameter of `net`, or is in no optimizer.
        """
        trained = {id(parameter) for parameter in parameters_of(optimizers)}
        owned = {id(parameter) for parameter in net.parameters()} if net else set()
        for name, weight in self.weights.items():
            found, shape = tuple(self._masks[name].shape), tuple(local(weight).shape)
            require(found == shape, f"the shape of the mask of {name}", found, f"{shape}, as of its weight")
            if net and id(weight) not in owned:
                raise UserError(f"the masked weight of {name} is not in the network that trains; {OF_ONE_NETWORK}")
            if trained and weight.requires_grad and id(weight) not in trained:
                raise UserError(f"the masked weight of {name} is in no optimizer; {OF_ONE_NETWORK}")

    def _check_shape(self, name: str, mask: Tensor) -> None:
        found, shape = tuple(getattr(mask, "shape", ())), tuple(self._weight(name).shape)
        require(found == shape, f"the shape of the mask of {name}", found, f"{shape}, as of its weight")

    @property
    def density(self) -> float:
        """Fraction of active weights in the masked layers."""
        return sum(self.active.values()) / sum(weight.numel() for weight in self.weights.values())

    def checksums(self) -> Tensor:
        """Return a checksum of each mask, (len(self),) int64, on the device of the first, without a wait for it."""
        of_all = [self._checksums[name] if name in self._checksums else checksum(self._masks[name]) for name in self]
        return torch.stack([one.to(of_all[0].device) for one in of_all])

    def sha256(self) -> str:
        """Return the SHA-256 hash of all masks, in the order of the layers."""
        digest = hashlib.sha256()
        for name, packed in self.state_dict().items():
            digest.update(name.encode())
            digest.update(packed.cpu().numpy().tobytes())
        return digest.hexdigest()


def _weight(name: str, layer: nn.Module) -> nn.Parameter:
    weight = layer.weight
    if not isinstance(weight, nn.Parameter):
        raise UserError(f"the weight of {name} is computed before use; expected a parameter, in which zeros stay zero")
    return weight
