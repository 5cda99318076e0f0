"""Which tensors of a run are activations, and which parameters the others come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from ..graph.layers import AnyLayer
from ..graph.watching import storage
from .transplant import own_tensors


@dataclass(frozen=True)
class Target:
    """A dimension of a parameter or buffer."""

    module: nn.Module
    key: str
    dim: int

    @property
    def tensor(self) -> Tensor:
        """The present parameter or buffer."""
        return getattr(self.module, self.key)


class Flow:
    """The tensors of one run of a network.

    Args:
        inputs: The tensors that the network is called with.
    """

    def __init__(self, net: nn.Module, inputs: Iterable[Tensor]):
        own = [(module, key, tensor) for module in net.modules() for key, tensor in own_tensors(module)]
        self._kept: list[object] = [own]  # keeps every id() and storage unique during the run
        self._bases: dict[int, list[tuple[nn.Module, str]]] = {}
        for module, key, tensor in own:
            self._bases.setdefault(storage(tensor), []).append((module, key))
        self._active = {id(tensor) for tensor in inputs}
        self._layered: set[int] = set()
        self._made_of: dict[int, set[int]] = {}
        self._makers: dict[int, AnyLayer] = {}

    def active(self, tensor: Tensor) -> bool:
        """Return whether a tensor was computed from the network's inputs."""
        return id(tensor) in self._active

    def fresh(self, tensor: Tensor) -> bool:
        """Return whether a tensor was computed from the network's inputs without a layer in between."""
        return self.active(tensor) and id(tensor) not in self._layered

    def maker(self, tensor: Tensor) -> AnyLayer | None:
        """Return the layer module whose output a tensor is."""
        return self._makers.get(id(tensor))

    def note(self, inputs: list[Tensor], results: list[Tensor], by_layer: bool, maker: AnyLayer | None) -> None:
        """Note a call.

        Args:
            by_layer: Whether the function is that of a layer.
            maker: The layer module that made the call.
        """
        self._kept.append(results)
        if maker is not None:
            self._makers[id(results[0])] = maker
        wide = [tensor for tensor in inputs if tensor.is_floating_point() or tensor.is_complex()]  # not indices
        for result in results:
            if any(map(self.active, inputs)):
                self._active.add(id(result))
            if by_layer or any(id(tensor) in self._layered for tensor in inputs):
                self._layered.add(id(result))
            self._made_of[id(result)] = set().union(*map(self._bases_of, wide))

    def replace(self, target: Target, new: Tensor) -> None:
        """Put another tensor in the place of a parameter or buffer, in all modules that share it."""
        places = [place for place in self._bases[storage(target.tensor)] if getattr(*place) is target.tensor]
        for module, key in places:
            setattr(module, key, new)
            if isinstance(module, nn.Embedding):
                module.num_embeddings, module.embedding_dim = new.shape
        self._kept.append(new)
        self._bases[storage(new)] = places

    def is_parameter(self, tensor: Tensor) -> bool:
        """Return whether a tensor is a parameter or buffer itself, not a view of it."""
        return any(getattr(*place) is tensor for place in self._bases.get(storage(tensor), ()))

    def targets(self, tensor: Tensor, dim: int) -> tuple[Target, ...]:
        """Return the dimensions of parameters that dimension `dim` of a tensor comes from.

        There is one for each parameter that the tensor was computed from, or none if one of them is not found.
        """
        bases = self._bases_of(tensor)
        targets = [target for base in bases if (target := self._target(tensor, dim, base))]
        return tuple(targets) if len(targets) == len(bases) else ()

    def _bases_of(self, tensor: Tensor) -> set[int]:
        base = storage(tensor)
        return {base} if base in self._bases else self._made_of.get(id(tensor), set())

    def _target(self, tensor: Tensor, dim: int, base: int) -> Target | None:
        """The dimension of a parameter, found by stride in a view of it and by size in a copy."""
        module, key = self._bases[base][0]
        own = getattr(module, key)
        if storage(tensor) == base:
            same = [d for d in range(own.dim()) if own.stride(d) == tensor.stride(dim) and own.shape[d] > 1]
        else:
            same = [d for d in range(own.dim()) if own.shape[d] == tensor.shape[dim] or own.dim() == 1]
        return Target(module, key, same[0]) if same else None
