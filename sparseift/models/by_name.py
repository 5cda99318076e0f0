"""Any network of torchvision or timm by its name there, untrained, for the images and classes of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from torch import nn

from ..common.messages import one_line
from ..errors import UserError
from ..graph.layers import CONVS
from ..surgery.initialization import Initializer
from .resolution import skip_halvings_

RGB = 3


def from_torchvision(
    name: str, num_classes: int, in_channels: int = RGB, image_size: int = 224, skip_halvings: int = 0, **options: Any
) -> nn.Module:
    """A classification network of torchvision: (N, in_channels, image_size, image_size) -> logits (N, num_classes).

    Auxiliary classifiers are left out. For other than 3 channels the first convolution is made anew. skip_halvings: see
    `skip_halvings_`. options: of torchvision's constructor. Raises UserError for an unknown name or option.
    """
    from torchvision import models  # takes a second to import, which the networks of this package need not wait for

    _check_name(name, models.list_models(module=models), "torchvision")

    def build(**more: Any) -> nn.Module:
        return _built(models.get_model, name, name, weights=None, num_classes=num_classes, **options, **more)

    net = build()
    wanted = {"aux_logits": False, "image_size": image_size}  # of those networks that have such a thing
    changes = {key: value for key, value in wanted.items() if getattr(net, key, value) != value and key not in options}
    if changes:
        net = build(**changes)
    if in_channels != RGB:
        _take_channels_(net, in_channels, name)
    if skip_halvings:
        skip_halvings_(net, skip_halvings, in_channels, image_size)
    return net


def from_timm(
    name: str, num_classes: int, in_channels: int = RGB, image_size: int = 224, skip_halvings: int = 0, **options: Any
) -> nn.Module:
    """A network of timm: (N, in_channels, image_size, image_size) -> logits (N, num_classes).

    skip_halvings: see `skip_halvings_`. options: of timm.create_model. Raises UserError for an unknown name or option,
    and where timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError("networks of timm need the package timm, which is not installed: pip install timm") from error
    _check_name(name, timm.list_models(), "timm")
    if timm.get_pretrained_cfg(name).fixed_input_size:
        # The tables of positions are made for the resolution that arrives there.
        options = {"img_size": image_size * 2**skip_halvings, **options}
    net = _built(timm.create_model, name, name, num_classes=num_classes, in_chans=in_channels, **options)
    if skip_halvings:
        skip_halvings_(net, skip_halvings, in_channels, image_size)
    return net


def _check_name(name: str, known: Iterable[str], library: str) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"{library} has no network '{name}'{hint}")


def _built(make: Callable[..., nn.Module], name: str, *args: Any, **options: Any) -> nn.Module:
    try:
        return make(*args, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"model.name={name}: {one_line(error)}") from error


def _take_channels_(net: nn.Module, channels: int, name: str) -> None:
    """Give the one convolution that reads the image other inputs, with weights drawn anew as the network draws them."""
    readers = [key for key, module in net.named_modules() if isinstance(module, CONVS) and module.in_channels == RGB]
    if len(readers) != 1:
        raise UserError(f"model.name={name} takes images of {RGB} channels only: dataset.channels={RGB}")
    layer = net.get_submodule(readers[0])
    layer.weight = Initializer([layer]).weight(layer.weight, (layer.out_channels, channels, *layer.kernel_size))
    layer.in_channels = channels
