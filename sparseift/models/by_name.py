"""Untrained networks of torchvision and timm by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from torch import nn

from ..common.checks import boolean, require
from ..common.messages import one_line
from ..errors import UserError
from ..graph.layers import Conv
from ..surgery.initialization import Initializer
from .resolution import skip_halvings_

RGB = 3


def from_torchvision(
    name: str, num_classes: int, in_channels: int = RGB, image_size: int = 224, skip_halvings: int = 0, **options: Any
) -> nn.Module:
    """Return a network of torchvision: (N, in_channels, image_size, image_size) -> (N, num_classes).

    Args:
        name: The name in torchvision. Auxiliary heads are left out.
        in_channels: If this is not 3, the weight of the first convolution is drawn again.
        skip_halvings: Number of halvings of the resolution to skip (see `skip_halvings_`).
        options: Further arguments of torchvision's constructor.

    Raises:
        UserError: There is no such network or option.
    """
    from torchvision import models  # takes a second to import

    _check_name(name, models.list_models(module=models), "torchvision")

    def build(**more: Any) -> nn.Module:
        return _built(models.get_model, name, weights=None, num_classes=num_classes, **options, **more)

    net = build()
    wanted = {"aux_logits": False, "image_size": image_size}  # of networks that have such an attribute
    changes = {key: value for key, value in wanted.items() if getattr(net, key, value) != value and key not in options}
    if changes:
        net = build(**changes)
    if in_channels != RGB:
        _take_channels_(net, in_channels, name)
    if skip_halvings:
        skip_halvings_(net, skip_halvings, in_channels, image_size)
    return net


def from_timm(
    name: str,
    num_classes: int,
    in_channels: int = RGB,
    image_size: int = 224,
    skip_halvings: int = 0,
    checkpointing: bool = False,
    **options: Any,
) -> nn.Module:
    """Return a network of timm: (N, in_channels, image_size, image_size) -> (N, num_classes).

    Args:
        name: The name in timm.
        skip_halvings: Number of halvings of the resolution to skip (see `skip_halvings_`).
        checkpointing: Whether to compute activations again in the backward pass, which saves memory.
        options: Further arguments of timm.create_model.

    Raises:
        UserError: There is no such network or option, or timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError("networks of timm need the package timm, which is not installed: pip install timm") from error
    _check_name(name, timm.list_models(), "timm")
    pretrained = timm.get_pretrained_cfg(name)
    if pretrained is not None and pretrained.fixed_input_size:
        # Positional embeddings are made for the size of the input.
        options = {"img_size": image_size * 2**skip_halvings, **options}
    net = _built(timm.create_model, name, num_classes=num_classes, in_chans=in_channels, **options)
    if boolean("model.checkpointing", checkpointing):
        _checkpoint(net, name)
    if skip_halvings:
        skip_halvings_(net, skip_halvings, in_channels, image_size)
    return net


def _checkpoint(net: Any, name: str) -> None:
    """Have a network of timm compute activations again."""
    try:
        net.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise UserError(f"model.checkpointing is True; expected false, because {name} does not offer it") from error


def _check_name(name: str, known: Iterable[str], library: str) -> None:
    known = list(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
    require(name in known, "model.name", name, f"a network of {library}, such as {' or '.join(near)}")


def _built(make: Callable[..., nn.Module], name: str, **options: Any) -> nn.Module:
    try:
        return make(name, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"model.name={name}: {one_line(error)}") from error


def _take_channels_(net: nn.Module, channels: int, name: str) -> None:
    """Give the first convolution another number of input channels, with a newly drawn weight."""
    readers = [module for module in net.modules() if isinstance(module, Conv) and module.in_channels == RGB]
    if len(readers) != 1:
        raise UserError(f"dataset.channels is {channels}; expected {RGB}, which model.name={name} needs")
    (layer,) = readers
    layer.weight = Initializer([layer]).weight(layer.weight, (layer.out_channels, channels, *layer.kernel_size))
    layer.in_channels = channels
