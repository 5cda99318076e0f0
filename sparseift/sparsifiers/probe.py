"""Gradients of an untrained network, computed without side effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UserError
from ..graph.copies import modes_kept
from ..graph.layers import NORMS

Differentiate = Callable[[Tensor, list[Tensor]], Sequence[Tensor]]


class Objective(Protocol):
    """The methods of `sparseift.tasks.Task` that a probe calls."""

    def inputs(self, batch: Any) -> tuple[tuple, dict[str, Any]]: ...

    def loss(self, outputs: Any, batch: Any) -> Tensor: ...

    def samples(self, batch: Any) -> int: ...


class Probe:
    """Evaluates a network with other weights in its masked layers.

    Weights, gradients, running statistics, training mode and random generators stay as they are. Gains of norms that
    are all zero (as in zero-initialized residual branches) count as one, since they would hide the layers before them.

    Args:
        net: The network.
        weights: Weights of the masked layers, by name; parameters of `net`.
        batches: Training batches, on the device of the network.
        task: Provides the inputs and the loss of a batch.
        mean: Returns the mean of a tensor over all ranks.

    Attributes:
        samples: Samples evaluated on this rank so far; one per forward and backward pass.
    """

    def __init__(
        self,
        net: nn.Module,
        weights: Mapping[str, nn.Parameter],
        batches: Sequence[Any],
        task: Objective,
        mean: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ):
        self.net, self.batches, self.task, self.mean = net, batches, task, mean
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
        inputs: tuple[tuple, dict[str, Any]],
        samples: int,
        training: bool,
        others: Callable[[Tensor], Tensor] = Tensor.clone,
    ) -> Any:
        """Return the outputs of the network.

        Args:
            weights: Weights of the masked layers, by name.
            inputs: Positional and keyword arguments of the network.
            samples: Number of samples in `inputs`.
            training: Whether to evaluate in training mode.
            others: Returns the replacement of each other parameter and buffer.
        """
        tensors = dict([*self.net.named_parameters(), *self.net.named_buffers()]) | self._ones
        tensors = {name: others(tensor.detach()) for name, tensor in tensors.items()}
        tensors |= {self._keys[name]: weight for name, weight in weights.items()}
        self.samples += samples
        with self._mode(training):
            return functional_call(self.net, tensors, *inputs)

    def gradient(self, weights: Mapping[str, Tensor], temperature: float = 1.0) -> dict[str, Tensor]:
        """Return the gradient g of the loss in training mode, averaged over batches and ranks.

        Args:
            weights: Weights of the masked layers, by name.
            temperature: Divisor of the outputs.
        """
        return self._mean_over_batches(weights, temperature, _gradient)

    def hessian_gradient(self, weights: Mapping[str, Tensor], temperature: float = 1.0) -> dict[str, Tensor]:
        """Return the product H g of the Hessian of the loss and its gradient, with the arguments of `gradient`."""
        vector = self.gradient(weights, temperature).values()

        def product(loss: Tensor, at: list[Tensor]) -> Sequence[Tensor]:
            gradient = torch.autograd.grad(loss, at, create_graph=True, materialize_grads=True)
            products = [(g * v).sum() for g, v in zip(gradient, vector, strict=True)]
            return _gradient(sum(products[1:], start=products[0]), at)

        return self._mean_over_batches(weights, temperature, product)

    def _mean_over_batches(
        self, weights: Mapping[str, Tensor], temperature: float, differentiate: Differentiate
    ) -> dict[str, Tensor]:
        at = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        total = [torch.zeros_like(weight) for weight in at.values()]
        for batch in self.batches:
            with torch.enable_grad():
                outputs = self(at, self.task.inputs(batch), self.task.samples(batch), training=True)
                loss = self.task.loss(_divided(outputs, temperature), batch).mean()
                parts = differentiate(loss, list(at.values()))
            torch._foreach_add_(total, [part.detach() for part in parts])
        return {name: self.mean(part / len(self.batches)) for name, part in zip(at, total, strict=True)}

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        devices = {parameter.device for parameter in self.net.parameters() if parameter.is_cuda}
        # Other implementations of attention cannot be differentiated twice.
        with torch.random.fork_rng(devices=list(devices)), sdpa_kernel(SDPBackend.MATH), modes_kept(self.net):
            self.net.train(training)
            yield


def tensor_output(outputs: Any, method: str) -> Tensor:
    """Return the outputs, or raise `UserError` if they are not a tensor."""
    if not isinstance(outputs, Tensor):
        raise UserError(f"{method} needs a network whose output is a tensor, not {type(outputs).__name__}")
    return outputs


def _divided(outputs: Any, temperature: float) -> Any:
    return outputs if temperature == 1 else tensor_output(outputs, "a temperature") / temperature


def _gradient(value: Tensor, at: list[Tensor]) -> Sequence[Tensor]:
    return torch.autograd.grad(value, at, materialize_grads=True)
