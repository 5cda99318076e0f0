"""Examples: the arguments that a network is called with, and the tensors in them."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeGuard

from torch import Tensor, nn

from ..errors import UserError
from .pytree import tree_leaves, tree_map_only

Example = Tensor | tuple | dict | list
"""The inputs of a network: a tensor, a tuple of arguments, a dict of keywords, or a tuple and a dict together.

An argument can be any container of tensors, which begin with the batch. A list is one argument. A list of tensors
(1, H, W) or (3, H, W), which detection networks take, has the samples. So have other lists of this length, such as that
of the targets.
"""


def inputs_of(example: Example) -> tuple[tuple, dict]:
    """Return an example as positional and keyword arguments."""
    if isinstance(example, dict):
        return (), example
    if not isinstance(example, tuple):
        return (example,), {}
    both = len(example) == 2 and isinstance(example[0], tuple) and isinstance(example[1], dict)
    return example if both else (example, {})


def hint(example: Example) -> str:
    """What to say about an example that may have been meant in another way."""
    if isinstance(example, dict):
        return " (a dict has keyword arguments; expected ({...},) for a network that takes a dict)"
    return " (a list is one argument; expected a tuple of arguments)" if isinstance(example, list) else ""


def sized_example(example: tuple[tuple, dict], samples: int) -> tuple[tuple, dict]:
    """Return the example with another number of samples, which all are its first.

    Raises:
        UserError: It has no sample.
    """
    tensors = tensors_in(example)
    first_argument = next(iter((*example[0], *example[1].values())), None)
    if _of_samples(first_argument):
        count = len(first_argument)

        def repeated(argument: Any) -> Any:
            of_samples = isinstance(argument, list) and len(argument) == count
            return [argument[0]] * samples if of_samples else argument

        return tuple(map(repeated, example[0])), {name: repeated(value) for name, value in example[1].items()}
    if not tensors or not tensors[0].dim() or not len(tensors[0]):
        found = ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "without tensors"
        raise UserError(f"the example is {found}; expected tensors that begin with a batch of at least one sample")
    batch, first = len(tensors[0]), [0] * samples
    sized = partial(tree_map_only, Tensor, lambda tensor: tensor[first] if tensor.shape[:1] == (batch,) else tensor)
    return sized(example[0]), sized(example[1])


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


def _of_samples(argument: Any) -> TypeGuard[list[Tensor]]:
    """Whether an argument is a list of tensors (1, H, W) or (3, H, W)."""
    samples = argument if isinstance(argument, list) else []
    fits = (isinstance(sample, Tensor) and sample.dim() == 3 and sample.shape[0] in (1, 3) for sample in samples)
    return bool(samples) and all(fits)
