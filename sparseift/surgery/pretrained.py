"""Networks of Hugging Face's transformers: their config follows the widths, and they are saved in their own format."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..graph.copies import constant
from .transplant import own_tensors

MOST_CONFIGS = 4096  # to try


def is_pretrained_model(net: nn.Module) -> bool:
    """Return whether a network is a model of transformers, which a config describes."""
    return hasattr(net, "save_pretrained") and hasattr(vars(net).get("config"), "to_diff_dict")


def describes(net: nn.Module) -> bool:
    """Return whether a model that is built with the config of a model of transformers has its modules and shapes."""
    built = _built(type(net), copy.deepcopy(net.config), "meta")
    return built is not None and _saved_shapes(built) == _saved_shapes(net)


def follow_config(net: nn.Module, before: nn.Module, factor: Fraction) -> None:
    """Set the config of a widened model of transformers to its widths, in place.

    A model that is built with the new config has the same shapes. The numbers of modules and the buffers that are not
    saved, such as the frequencies of rotary embeddings, become those of this model. Other networks stay as they are.

    Args:
        net: The widened network.
        before: The network before.
        factor: The factor of widths.

    Raises:
        UserError: No config describes the network.
    """
    if not is_pretrained_model(net):
        return
    config: Any = net.config
    wanted = _saved_shapes(net)
    widths = _changed_sizes(net, before)
    keys = [key for key, value in vars(config).items() if type(value) is int and value in widths and value > 1]
    for chosen in _subsets([key for key in keys if not getattr(config, key) * factor % 1]):
        other = copy.deepcopy(config)
        for key in chosen:
            setattr(other, key, int(getattr(config, key) * factor))
        built = _built(type(net), other, "meta")
        if built is not None and _saved_shapes(built) == wanted:
            old = _built(type(net), copy.deepcopy(config), "meta")
            if _unsaved_buffers(built) and not any(parameter.is_meta for parameter in net.parameters()):
                built = _built(type(net), copy.deepcopy(other), "cpu")  # with their values
            if old is not None and built is not None:
                _adopt(net, old, built)
            for key in chosen:
                setattr(config, key, getattr(other, key))
            return
    raise UserError(
        f"sparse_wide can't widen {type(net).__name__}: no values of its config describe the widths, so that it could "
        "not be loaded after it is saved"
    )


def keep_format(net: nn.Module, before: nn.Module) -> None:
    """Make `save_pretrained` save linear layers in the format of the modules that they replace (see `linear_modules`).

    Args:
        net: The transformed network, changed in place.
        before: The network that was transformed.
    """
    if not is_pretrained_model(net):
        return
    old = dict(before.named_modules())
    transposed = [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and name in old and not isinstance(old[name], nn.Linear)
        if _is_transposed(module.weight)
    ]
    if transposed:
        from transformers.core_model_loading import Transpose, WeightConverter

        keys = [f"{name}.weight" for name in transposed]
        converters = [WeightConverter([key], [key], operations=[Transpose(0, 1)]) for key in keys]
        own: Any = net
        own._weight_conversions = [*(getattr(net, "_weight_conversions", None) or []), *converters]


def _is_transposed(weight: Tensor) -> bool:
    """Whether a matrix has the layout in memory of a weight of (in, out), as `linear_modules` keeps it."""
    return weight.stride(0) < weight.stride(1)


def _subsets(keys: list[str]) -> Iterator[tuple[str, ...]]:
    """Choices of keys, the most first."""
    count = 0
    for size in range(len(keys), 0, -1):
        for chosen in combinations(keys, size):
            count += 1
            if count > MOST_CONFIGS:
                return
            yield chosen


def _built(kind: type[nn.Module], config: Any, device: str) -> nn.Module | None:
    """A model with a config; None if it can't be built."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return kind(config)
    except Exception:  # whatever the model raises for sizes that do not fit
        return None


def _saved_shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of all that is saved; those of matrices in either order, as Conv1D transposes its weight."""
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    return {name: tuple(sorted(shape)) if len(shape) == 2 else shape for name, shape in shapes.items()}


def _changed_sizes(net: nn.Module, before: nn.Module) -> set[int]:
    """The sizes of tensors, and the numbers of modules, that differ between two networks: those of the second one."""
    sizes = set[int]()
    for new, old in zip(net.modules(), before.modules(), strict=True):
        for (_, a), (_, b) in zip(own_tensors(new), own_tensors(old), strict=True):
            sizes |= {was for now, was in zip(a.shape, b.shape, strict=True) if now != was}
        for key, value in vars(old).items():
            if type(value) is int and vars(new).get(key) != value:
                sizes.add(value)
    return sizes


def _unsaved_buffers(net: nn.Module) -> set[str]:
    return {name for name, _ in net.named_buffers()} - net.state_dict().keys()


def _adopt(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Take over what the config determines besides what is saved: numbers, and buffers that are not saved.

    Args:
        old, new: Models that are built with the config of before and with the new one.
    """
    before, after = dict(old.named_modules()), dict(new.named_modules())
    for name, module in net.named_modules():
        if name not in after or type(after[name]) is not type(module):
            continue
        for key, value in vars(after[name]).items():
            if not isinstance(value, bool) and constant(value) and vars(before[name]).get(key) != value:
                vars(module)[key] = value
    for name in _unsaved_buffers(new) & dict(net.named_buffers()).keys():
        parent, _, key = name.rpartition(".")
        own, values = net.get_buffer(name), new.get_buffer(name)
        setattr(net.get_submodule(parent), key, values.to(own.device, own.dtype))
