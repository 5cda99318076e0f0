"""What a network computes before it is trained, looked at without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..graph.layers import NORMS

Differentiate = Callable[[Tensor, list[Tensor]], Sequence[Tensor]]


class Probe:
    """A network whose masked layers have other weights put in their place.

    Weights, gradients, running statistics, training mode and random generators are afterwards as they were. A norm
    whose gain starts at zero (a zero-initialised residual branch) would hide the branch behind it, so its gain counts
    as one.

    weights: of the masked layers, parameters of `net`. batches: (inputs, labels) on the device of the network. mean: of
    a tensor over all ranks. `samples` counts the samples that went forward and backward so far, on this rank.
    """

    def __init__(
        self,
        net: nn.Module,
        weights: Mapping[str, nn.Parameter],
        batches: Sequence[tuple[Tensor, Tensor]],
        mean: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    ):
        self.net, self.batches, self.mean, self.loss = net, batches, mean, loss
        key = {id(parameter): name for name, parameter in net.named_parameters()}
        self._keys = {name: key[id(weight)] for name, weight in weights.items()}
        self._ones = {
            key[id(norm.weight)]: torch.ones_like(norm.weight)
            for norm in net.modules()
            if isinstance(norm, NORMS) and norm.weight is not None and not norm.weight.any()
        }
        self.samples = 0

    def __call__(
        self,
        weights: Mapping[str, Tensor],
        inputs: Tensor,
        training: bool,
        others: Callable[[Tensor], Tensor] = Tensor.clone,
    ) -> Tensor:
        """Outputs with these weights. others: makes every other parameter and buffer what it is to be."""
        tensors = dict([*self.net.named_parameters(), *self.net.named_buffers()]) | self._ones
        tensors = {name: others(tensor.detach()) for name, tensor in tensors.items()}
        tensors |= {self._keys[name]: weight for name, weight in weights.items()}
        self.samples += len(inputs)
        with self._mode(training):
            return functional_call(self.net, tensors, (inputs,))

    def gradient(self, weights: Mapping[str, Tensor], temperature: float = 1.0) -> dict[str, Tensor]:
        """g: the gradient of the loss in training mode, mean over batches and ranks. temperature: what the outputs are
        divided by."""
        return self._mean_over_batches(weights, temperature, _gradient)

    def hessian_gradient(self, weights: Mapping[str, Tensor], temperature: float = 1.0) -> dict[str, Tensor]:
        """H g, with H the Hessian of the same loss that g is the gradient of."""
        vector = self.gradient(weights, temperature).values()

        def product(loss: Tensor, at: list[Tensor]) -> Sequence[Tensor]:
            gradient = torch.autograd.grad(loss, at, create_graph=True, materialize_grads=True)
            return _gradient(sum((g * v).sum() for g, v in zip(gradient, vector, strict=True)), at)

        return self._mean_over_batches(weights, temperature, product)

    def _mean_over_batches(
        self, weights: Mapping[str, Tensor], temperature: float, differentiate: Differentiate
    ) -> dict[str, Tensor]:
        at = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        total = [torch.zeros_like(weight) for weight in at.values()]
        for inputs, labels in self.batches:
            with torch.enable_grad():
                loss = self.loss(self(at, inputs, training=True) / temperature, labels)
                parts = differentiate(loss, list(at.values()))
            torch._foreach_add_(total, [part.detach() for part in parts])
        return {name: self.mean(part / len(self.batches)) for name, part in zip(at, total, strict=True)}

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        modes = {module: module.training for module in self.net.modules()}
        devices = {parameter.device for parameter in self.net.parameters() if parameter.is_cuda}
        # of the kinds of attention, the plain one alone can be differentiated twice
        with torch.random.fork_rng(devices=list(devices)), sdpa_kernel(SDPBackend.MATH):
            self.net.train(training)
            try:
                yield
            finally:
                for module, mode in modes.items():
                    module.training = mode


def _gradient(value: Tensor, at: list[Tensor]) -> Sequence[Tensor]:
    return torch.autograd.grad(value, at, materialize_grads=True)
