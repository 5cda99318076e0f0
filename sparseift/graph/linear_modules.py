"""Modules that are linear layers without being nn.Linear, such as Hugging Face's Conv1D.

Their weights are bare parameters, which can't be masked, replaced or widened as those of layers.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .copies import carry_numbers, hooks_of, substituted
from .trace import Trace


def with_linear_layers(record: Trace) -> nn.Module:
    """Return a copy of the traced network in which nn.Linear replaces the modules that compute the same function.

    A network without such modules is returned itself. Modules are compared with nn.Linear on random inputs, with random
    weights, in training and in evaluation mode.
    """
    named = {weight.name.rpartition(".")[0] for mode in record.modes for weight in mode.bare_weights}
    outside = set[str]().union(*(mode.read_outside for mode in record.modes))
    holders = Counter(
        id(parameter) for module in record.net.modules() for parameter in module.parameters(recurse=False)
    )

    def linear(name: str, module: nn.Module) -> nn.Module | None:
        alone = all(holders[id(parameter)] == 1 for parameter in record.net.get_submodule(name).parameters())
        runs = [run for mode in record.modes for run in mode.runs[name]]
        single = all(len(inputs) == len(outputs) == 1 for inputs, outputs in runs)
        simple = len(inspect.signature(module.forward).parameters) == 1 and not hooks_of(module)
        return _as_linear(module) if name in named - outside and alone and single and simple else None

    return substituted(record.net, linear)


def _as_linear(module: nn.Module) -> nn.Linear | None:
    """An nn.Linear with the weights of a module; None if the module computes something else."""
    dims = sorted(parameter.dim() for parameter in module.parameters())
    if dims not in ([2], [1, 2]) or [*module.children(), *module.buffers()]:
        return None
    random = torch.Generator().manual_seed(0)
    twin = copy.deepcopy(module).to_empty(device="cpu").double()
    for parameter in twin.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random, dtype=torch.double)
    for transposed in (False, True):
        weight, bias = _parts(twin, transposed)
        inputs = torch.randn(2, 3, weight.shape[1], generator=random, dtype=torch.double)
        if bias is None or len(bias) == len(weight):
            expected = F.linear(inputs, weight, bias)
            if all(_returns(twin.train(mode), inputs, expected) for mode in (True, False)):
                return _linear(module, *_parts(module, transposed))
    return None


def _parts(module: nn.Module, transposed: bool) -> tuple[Tensor, Tensor | None]:
    """The weight and the bias of a module."""
    matrix = next(parameter for parameter in module.parameters() if parameter.dim() == 2)
    bias = next((parameter for parameter in module.parameters() if parameter.dim() == 1), None)
    return matrix.T if transposed else matrix, bias


def _returns(module: nn.Module, inputs: Tensor, expected: Tensor) -> bool:
    try:
        with torch.no_grad():
            found = module(inputs.clone())
    except Exception:  # whatever the code of the module raises
        return False
    return isinstance(found, Tensor) and found.shape == expected.shape and torch.allclose(found, expected)


def _linear(module: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    with torch.device("meta"):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    # A transposed weight keeps its layout in memory, so that products are equal to the bit.
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    carry_numbers(module, layer)
    return layer.train(module.training)
