"""Examples: the arguments that a network is called with, and the tensors in them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .pytree import tree_leaves, tree_map_only

Example = Tensor | tuple | dict
"""The inputs of a network: a tensor, a tuple of arguments, a dict of keywords, or a tuple and a dict together."""


def inputs_of(example: Example) -> tuple[tuple, dict]:
    """Return an example as positional and keyword arguments."""
    if isinstance(example, dict):
        return (), example
    if not isinstance(example, tuple):
        return (example,), {}
    both = len(example) == 2 and isinstance(example[0], tuple) and isinstance(example[1], dict)
    return example if both else (example, {})


def tensor_leaves(tree: Any) -> list[Tensor]:
    """Return the tensors in nested containers."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in nested containers, and in the attributes of plain objects in them."""
    found: list[Tensor] = []
    seen: set[int] = set()  # objects may refer to each other

    def search(tree: Any) -> None:
        for leaf in tree_leaves(tree):
            if isinstance(leaf, Tensor):
                found.append(leaf)
            elif hasattr(leaf, "__dict__") and not isinstance(leaf, type | nn.Module) and id(leaf) not in seen:
                seen.add(id(leaf))
                search(list(vars(leaf).values()))

    search(tree)
    return found


def results_in(output: Any) -> list[Tensor]:
    """Return the tensors that a network returns: of the outputs of a model of transformers, those of the first.

    The others, such as the states of an encoder, are for calls that go on with the next token.
    """
    return tensors_in(output.to_tuple()[0] if hasattr(output, "to_tuple") else output)


def on_meta(example: Any) -> Any:
    """Return the example with its tensors on the meta device."""
    return tree_map_only(Tensor, lambda tensor: tensor.to("meta"), example)
