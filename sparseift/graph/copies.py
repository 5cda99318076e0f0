"""Copies of networks, with their values or as shapes on the meta device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..common.messages import one_line
from ..errors import UserError
from .pytree import tree_leaves, tree_map


def meta_copy(net: nn.Module) -> nn.Module:
    """Return a copy of the network whose parameters, buffers and tensor attributes are on the meta device.

    Tensors that are shared in the network are shared in the copy. The copy returns no keys and values for generation
    (see `without_cache`).
    """

    def to_meta(tensor: Tensor) -> Tensor:
        with torch.no_grad():
            twin = tensor.detach().to("meta")
        return nn.Parameter(twin, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin

    tensors = [*net.parameters(), *net.buffers()]
    tensors += [value for module in net.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    copied = duplicate(net, {id(tensor): to_meta(tensor) for tensor in tensors})
    for config in _caching(copied):
        config.use_cache = False
    return copied


@contextmanager
def modes_kept(net: nn.Module) -> Iterator[None]:
    """Context after which every module is in training or evaluation mode as before."""
    modes = {module: module.training for module in net.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def without_cache(net: nn.Module) -> Iterator[None]:
    """Context in which a language model of Hugging Face does not return its keys and values, which are of no use but
    for generation, and no outputs that must keep their widths."""
    configs = _caching(net)
    for config in configs:
        config.use_cache = False
    try:
        yield
    finally:
        for config in configs:
            config.use_cache = True


def _caching(net: nn.Module) -> list[Any]:
    """The configs in a network that ask for keys and values."""
    configs = {id(config): config for module in net.modules() if (config := vars(module).get("config")) is not None}
    return [config for config in configs.values() if getattr(config, "use_cache", None) is True]


def require_plain(net: nn.Module) -> None:
    """Raise a `UserError` if a module is compiled, so that its Python code does not run, or has no shapes yet."""
    for name, module in net.named_modules():
        name = name or type(net).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise UserError(f"{name} is a program of torch.jit; transform the network first, then script or trace it")
        if "_orig_mod" in dict(module.named_children()):
            raise UserError(f"{name} is compiled; transform the network first, then call torch.compile on the result")
        if any(map(is_lazy, (*module.parameters(recurse=False), *module.buffers(recurse=False)))):
            raise UserError(f"{name} is a lazy layer without shapes; run the network once before it is transformed")


def duplicate(net: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Return a deep copy of a network.

    Args:
        memo: What the copy holds instead of an object of the network, by id() of the object.

    Raises:
        UserError: The network can't be copied.
    """
    try:
        return copy.deepcopy(net, memo)
    except Exception as error:
        odd = [
            f"{name}.{key}"
            for name, module in net.named_modules()
            for key, value in vars(module).items()
            if isinstance(value, Tensor) and not value.is_leaf
        ]
        what = f"{odd[0]} is computed, not a parameter" if odd else one_line(error, whole=False)
        raise UserError(f"{type(net).__name__} can't be copied: {what}") from error


def names_in(net: nn.Module) -> dict[nn.Module, str]:
    """Return the first name of every module of a network."""
    return {module: name for name, module in net.named_modules()}


def constant(value: Any) -> bool:
    """Return whether a value is a number, or a list or tuple of numbers and strings."""
    if isinstance(value, list | tuple):
        return all(item is None or isinstance(item, str) or constant(item) for item in value)
    return isinstance(value, int | float)


def carry_numbers(old: nn.Module, new: nn.Module) -> None:
    """Give a module the numbers and strings of the module that it replaces, such as `in_features`."""
    for key, value in vars(old).items():
        if not key.startswith("_") and key not in vars(new) and (isinstance(value, str) or constant(value)):
            setattr(new, key, value)


def hooks_of(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that hold hooks of its forward and backward passes, if there are any."""
    hooks = {key: value for key, value in vars(module).items() if key.startswith(("_forward", "_backward"))}
    return hooks if any(hooks.values()) else {}


def substituted(net: nn.Module, new: Callable[[str, nn.Module], nn.Module | None]) -> nn.Module:
    """Return a copy of a network with some modules replaced.

    Args:
        new: Returns the replacement of a module of the copy, given its name, or None if it stays. If all stay, the
            network itself is returned.
    """
    copied = duplicate(net)
    made = {old: module for name, old in copied.named_modules() if name and (module := new(name, old)) is not None}
    with updated_references(copied):
        for place, old in list(copied.named_modules(remove_duplicate=False)):
            if old in made:
                parent, _, key = place.rpartition(".")
                setattr(copied.get_submodule(parent), key, made[old])
    return copied if made else net


@contextmanager
def updated_references(net: nn.Module) -> Iterator[None]:
    """Context in which modules of a network are replaced.

    At its end, the plain attributes, lists and dicts that hold a replaced module hold the new one: the network's code
    may call the module from there.
    """
    names = names_in(net)
    yield
    present = dict(net.named_modules())

    def current(leaf: Any) -> Any:
        return present.get(names[leaf], leaf) if isinstance(leaf, nn.Module) and leaf in names else leaf

    for module in names:
        for key, value in vars(module).items():
            if key != "_modules" and any(current(leaf) is not leaf for leaf in tree_leaves(value)):
                vars(module)[key] = tree_map(current, value)
