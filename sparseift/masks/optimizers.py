"""What optimizers do with masked weights: whether a step keeps them zero, and the state that weights start with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from ..common.messages import one_line
from ..errors import UserError
from .inplace import mask_in_place
from .sharded import local

ELEMENTWISE = frozenset(
    {
        *(optim.SGD, optim.Adam, optim.AdamW, optim.Adamax, optim.NAdam, optim.RAdam),
        *(optim.Adagrad, optim.Adadelta, optim.ASGD, optim.RMSprop, optim.Rprop),
    }
)
"""Optimizers that compute every weight from its own value, gradient and state: a weight of zero stays zero while its
gradients are zero. Others, such as Muon, Shampoo and L-BFGS, mix the gradients of different weights."""


def keeps_zeros(optimizer: Optimizer) -> bool:
    """Return whether a weight of zero whose gradients are zero stays zero, as far as known."""
    return type(optimizer) in ELEMENTWISE


def parameters_of(optimizers: Iterable[Optimizer]) -> Iterator[nn.Parameter]:
    """The parameters in the groups of these optimizers."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            yield from group["params"]


def restart(optimizers: Iterable[Optimizer], weight: nn.Parameter, stay: Tensor) -> None:
    """Set what the optimizers keep for single weights to the state of a new weight of zero, except where `stay` holds.

    Args:
        weight: A parameter of the optimizers.
        stay: Boolean, of the shape of the weight, or of its part on this rank.

    Raises:
        UserError: The state is not of floating-point numbers.
    """
    for optimizer in with_inner(optimizers):
        state = optimizer.state.get(weight, {})
        kept = {key: value for key, value in state.items() if isinstance(value, Tensor) and value.shape == weight.shape}
        new = _new_state(optimizer, weight) if kept else {}
        for key, values in kept.items():
            if not (values.is_floating_point() or values.is_complex()):
                kind = f"what {type(optimizer).__name__} keeps for every weight as {key}"
                raise UserError(f"{kind} is of type {values.dtype}; expected floating point, which can be set to zero")
            mask_in_place(local(values), stay)
            if first := new.get(key):
                local(values).masked_fill_(~stay, first)


def with_inner(optimizers: Iterable[Optimizer]) -> Iterator[Optimizer]:
    """These optimizers, and those that they hold, as Lookahead does."""
    for optimizer in optimizers:
        yield optimizer
        yield from with_inner(value for value in vars(optimizer).values() if isinstance(value, Optimizer))


def group_of(optimizer: Optimizer, weight: nn.Parameter) -> dict[str, Any]:
    """The group of an optimizer that a parameter is in."""
    return next(group for group in optimizer.param_groups if any(weight is each for each in group["params"]))


class _Beginning(dict[str, Any]):
    """Optimizer state of a parameter that also has the first value of each key, before a step changes it."""

    def __init__(self, state: Mapping[str, Any]):
        super().__init__()
        self.first: dict[str, Tensor] = {}
        for key, value in state.items():
            self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, Tensor) and key not in self.first:
            self.first[key] = value.clone()
        super().__setitem__(key, value)


def _new_state(optimizer: Optimizer, weight: nn.Parameter) -> dict[str, float | complex]:
    """What the optimizer keeps for a new weight of the group of `weight`, by key.

    Optimizers make their state in the first step, so another one of the same class steps with a gradient of zero. It
    steps on the CPU, whatever the device of the weight, so that nothing is read from there.
    """
    group = {key: _on_cpu(key, value) for key, value in group_of(optimizer, weight).items()}
    parameter = nn.Parameter(torch.zeros((1,) * weight.dim(), dtype=weight.dtype, device="cpu"))
    parameter.grad = torch.zeros_like(parameter)
    accepted = signature(type(optimizer)).parameters
    options = {key: _on_cpu(key, value) for key, value in optimizer.defaults.items() if key in accepted}
    try:
        with torch.random.fork_rng(devices=[]):
            new = type(optimizer)([{**group, "params": [parameter]}], **options)
            new.state[parameter] = beginning = _Beginning(new.state[parameter])
            new.step()
    except Exception as error:  # a class with other arguments, or one that needs a closure
        kind, reason = type(optimizer).__name__, one_line(error, whole=False)
        warnings.warn(f"the state of {kind} starts at zero where weights grow: {reason}", stacklevel=2)
        return {}
    return {key: _number(value) for key, value in beginning.first.items() if value.numel() == 1}


def _on_cpu(key: str, value: Any) -> Any:
    """An option of an optimizer, for parameters on the CPU."""
    return False if key == "capturable" else value.cpu() if isinstance(value, Tensor) else value


def _number(value: Tensor) -> float | complex:
    """The only element of a tensor on the CPU."""
    return value.to(torch.complex128 if value.is_complex() else torch.float64).numpy().item()
