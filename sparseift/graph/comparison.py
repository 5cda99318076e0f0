"""Compare the functions of two networks, and find out whether a network has been trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .copies import modes_kept, without_cache
from .examples import results_in
from .layers import AnyLayer, stored_weight
from .pytree import tree_map_only


def difference(net: nn.Module, other: nn.Module, example: tuple[tuple, dict]) -> float:
    """Return how much the outputs of two networks differ in evaluation mode, for random inputs.

    Args:
        example: Arguments of both networks, of which only shapes and types matter.

    Returns:
        The largest absolute difference, divided by the largest absolute output of `net`. NaN if an output is NaN.
    """
    pairs = zip(_outputs(net, example), _outputs(other, example), strict=True)
    errors = [((b - a).abs().max() / a.abs().max().clamp_min(1e-30)).item() for a, b in pairs if a.numel()]
    return max(errors, default=0.0, key=lambda error: (error != error, error))


def trained_parameter(net: nn.Module) -> str | None:
    """Return the name of a parameter that shows that the network has been trained; None if none does.

    The weights of norms are constant when a network is built, and differ between channels when it has been trained.
    """
    for name, module in net.named_modules():
        weight = None if isinstance(module, AnyLayer) else stored_weight(module)
        if weight is not None and weight.dim() == 1 and not weight.is_meta and bool((weight != weight[:1]).any()):
            return f"{name}.weight"
    return None


@torch.no_grad()
def _outputs(net: nn.Module, example: tuple[tuple, dict]) -> list[Tensor]:
    """The outputs of a network in double precision. Its training mode and the random state of torch stay unchanged."""
    first = next(net.parameters())
    with torch.random.fork_rng(), without_cache(net), modes_kept(net):
        torch.manual_seed(0)
        args, kwargs = tree_map_only(Tensor, lambda like: _random(like, first), example)
        output: Any = net.eval()(*args, **kwargs)
    return [tensor.double() for tensor in results_in(output)]


def _random(like: Tensor, parameter: Tensor) -> Tensor:
    """Normal numbers, or zeros if the inputs are integers such as tokens, or ones if they are boolean."""
    if like.is_floating_point():
        return torch.randn(like.shape, device="cpu").to(parameter.device, like.dtype)
    return torch.full(like.shape, like.dtype == torch.bool, dtype=like.dtype, device=parameter.device)
