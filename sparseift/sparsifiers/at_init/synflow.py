"""SynFlow: keep the weights with the most synaptic flow, without data (Tanaka et al., NeurIPS 2020, algorithm 1).

The flow R is the sum of the outputs for an input of ones, with all parameters replaced by their magnitudes. The score
of a weight is |w dR/d|w||. A training batch gives only the shape of the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...graph.layers import NORMS
from ...graph.pytree import tree_map_only
from ..probe import Probe, tensor_output
from .base import PruningAtInit


class SynFlow(PruningAtInit):
    """Computes the flow in double precision, since it overflows single precision in deep networks.

    Norms are bypassed. In evaluation mode, an untrained batch norm is the identity up to a constant; other norms would
    normalize the flow.

    Args:
        iterations: Rounds of scoring and pruning.
    """

    def __init__(self, iterations: int):
        super().__init__(1, iterations)

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        at = {name: _magnitude(weight * masks[name]).requires_grad_() for name, weight in weights.items()}
        ones = tree_map_only(Tensor, _ones, probe.task.inputs(probe.batches[0]))
        with torch.enable_grad(), _norms_bypassed(probe.net):
            flow = tensor_output(probe(at, ones, 1, training=False, others=_magnitude), "SynFlow").sum()
            gradient = torch.autograd.grad(flow, list(at.values()), materialize_grads=True)
        return {name: weight.detach() * part for (name, weight), part in zip(at.items(), gradient, strict=True)}


def _ones(inputs: Tensor) -> Tensor:
    """One sample of ones. Raises `UserError` for integer inputs, such as tokens."""
    if not inputs.is_floating_point():
        raise UserError(f"SynFlow needs a network with floating-point inputs, not {inputs.dtype}")
    return torch.ones_like(inputs[:1], dtype=torch.float64)


def _magnitude(tensor: Tensor) -> Tensor:
    return tensor.double().abs() if tensor.is_floating_point() else tensor


@contextmanager
def _norms_bypassed(net: nn.Module) -> Iterator[None]:
    hooks = [
        module.register_forward_hook(lambda module, args, output: args[0])
        for module in net.modules()
        if isinstance(module, NORMS)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
