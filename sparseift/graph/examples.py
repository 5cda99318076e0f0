"""The inputs of a network: arguments, and the tensors in them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

Example = Tensor | tuple | dict
"""The inputs of a network: a tensor, a tuple of arguments, a dict of keywords, or a tuple and a dict together."""


def inputs_of(example: Example) -> tuple[tuple, dict]:
    """An example as positional and keyword arguments: a tensor, a tuple of arguments, a dict of keywords, or both
    together."""
    if (
        isinstance(example, tuple)
        and len(example) == 2
        and isinstance(example[0], tuple)
        and isinstance(example[1], dict)
    ):
        return example
    if isinstance(example, dict):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def tensor_leaves(tree: Any) -> list[Tensor]:
    """The tensors in nested containers."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested containers, and in the attributes of plain objects."""
    found = []
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor):
            found.append(leaf)
        elif hasattr(leaf, "__dict__") and not isinstance(leaf, type | nn.Module):
            found += tensors_in(list(vars(leaf).values()))
    return found


def on_meta(example: Any) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.to("meta"), example)
