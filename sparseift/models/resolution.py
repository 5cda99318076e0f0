"""Adapt networks for a high resolution to a low one: skip their first halvings of the resolution."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from ..common.checks import require
from ..common.messages import one_line
from ..errors import UserError
from ..graph.copies import meta_copy
from ..graph.layers import Conv
from ..surgery.replace import replace


def skip_halvings_(net: nn.Module, count: int, in_channels: int, image_size: int) -> None:
    """Skip the first halvings of the resolution of a network, in place.

    Convolutions of stride 2 get stride 1, and poolings are removed, in all parallel paths.

    Args:
        net: A network for inputs of 2^count times `image_size`.
        count: Number of halvings to skip.
        image_size: Height and width of the input in pixels.

    Raises:
        UserError: The network has fewer halvings, or does not run without them.
    """
    kind = type(net).__name__
    try:
        sides = _halving(net, in_channels, image_size * 2**count)
        early = {name: side for name, side in sides.items() if side > image_size}
        halvings = len(set(early.values()))
        require(
            count <= halvings, "model.skip_halvings", count, f"at most {halvings}, the number of halvings of {kind}"
        )
        for name in early:
            module = net.get_submodule(name)
            if isinstance(module, Conv):
                module.stride = (1,) * len(module.stride)
            else:
                replace(net, name, nn.Identity())
        _halving(net, in_channels, image_size)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"model.skip_halvings is {count}; expected fewer, because {kind} then fails at "
            f"dataset.image_size={image_size}: {one_line(error)}"
        ) from error


def _halving(net: nn.Module, in_channels: int, image_size: int) -> dict[str, int]:
    """The height of the input of each module that halves the resolution."""
    runner = meta_copy(net).eval()
    sides: dict[str, int] = {}

    def record(name: str, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        sides[name] = args[0].shape[-2]

    for name, module in runner.named_modules():
        if not list(module.children()) and getattr(module, "stride", 1) in (2, (2, 2)):
            module.register_forward_pre_hook(partial(record, name))
    with torch.no_grad():
        runner(torch.empty(1, in_channels, image_size, image_size, device="meta"))
    return sides
