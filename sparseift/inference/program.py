"""What a network computes, as plain data: calls of torch's operators, in order.

A file with a program is data, too. `torch.export.load` is not used, because it may unpickle objects and evaluates
expressions of the file. A program names operators, and `operator_named` returns those alone that compute a tensor or
number from their arguments: none changes an argument, and none reads or writes files.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import UserError

ON_NUMBERS = ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "pow", "eq", "ne", "lt", "le", "gt", "ge")
"""Functions of Python's `operator` that a program may call, such as on sizes. It may also call `getitem`."""

INTERNAL = ("_native_batch_norm_legit_no_training", "_softmax", "_log_softmax", "_to_copy", "_unsafe_view")
"""Operators that torch.export writes although their names mark them as internal."""

OTHERS = ("from_file", "save", "as_strided")
"""Operators of files, and of the memory layout, which is not that of the captured network."""

TYPES = {"dtype": torch.dtype, "memory_format": torch.memory_format, "layout": torch.layout}
"""Constants of torch in arguments."""


@dataclass(frozen=True)
class Value:
    """An input of the program, or the result of a node."""

    number: int


@dataclass(frozen=True)
class Stored:
    """A tensor of the network, by name."""

    name: str


@dataclass(frozen=True)
class Device:
    """The device of the network."""


@dataclass(frozen=True)
class Node:
    """A call of an operator.

    Attributes:
        number: Number of the result.
        operator: Such as "aten.conv2d.default".
        arguments: Constants, `Value`, `Stored`, `Device`, and lists of them.
        keywords: Likewise.
    """

    number: int
    operator: str
    arguments: tuple
    keywords: dict[str, Any]


@dataclass(frozen=True)
class Input:
    """A tensor that the network is called with.

    Attributes:
        name: Name of the argument.
        shape: Smallest and largest size of each dimension; None for no limit.
        dtype: Type of the elements, such as "float32".
    """

    name: str
    shape: tuple[tuple[int, int | None], ...]
    dtype: str


@dataclass(frozen=True)
class Program:
    """The calls of a network.

    Attributes:
        inputs: The inputs are the first values.
        nodes: In the order of execution.
        output: A `Value`, or lists and dicts of values.
    """

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    output: Any

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        inputs = [{"name": one.name, "shape": one.shape, "dtype": one.dtype} for one in self.inputs]
        nodes = [[one.number, one.operator, _plain(one.arguments), _plain(one.keywords)] for one in self.nodes]
        return {"inputs": inputs, "nodes": nodes, "output": _plain(self.output)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Program:
        """Invert `as_dict`.

        Raises:
            UserError: A node calls something else than the operators of a program.
        """
        inputs = tuple(
            Input(one["name"], tuple((low, high) for low, high in one["shape"]), one["dtype"])
            for one in content["inputs"]
        )
        nodes = tuple(
            Node(number, name, tuple(_restored(arguments)), {key: _restored(value) for key, value in keywords.items()})
            for number, name, arguments, keywords in content["nodes"]
        )
        for node in nodes:
            operator_named(node.operator)
        return cls(inputs, nodes, _restored(content["output"]))


def operator_named(name: str) -> Callable[..., Any]:
    """Return an operator that a program may call.

    Raises:
        UserError: There is none of this name.
    """
    namespace, _, rest = name.partition(".")
    if namespace == "operator" and rest in (*ON_NUMBERS, "getitem"):
        return getattr(operator, rest)
    packet, _, overload = rest.partition(".")
    plain = packet in INTERNAL or not packet.startswith("_")
    if (
        namespace == "aten"
        and plain
        and not packet.endswith("_")
        and packet not in OTHERS
        and overload
        and "out" not in overload
    ):
        found = getattr(getattr(torch.ops.aten, packet, None), overload, None)
        if isinstance(found, type(torch.ops.aten.relu.default)):
            return found
    raise UserError(f"a network of a compact file cannot call {name}")


def values_in(tree: Any) -> Iterator[int]:
    """Yield the numbers of the values in arguments or an output, as often as they occur."""
    if isinstance(tree, Value):
        yield tree.number
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from values_in(item)
    elif isinstance(tree, dict):
        yield from values_in(list(tree.values()))


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return arguments or an output with every leaf changed."""
    if isinstance(tree, list | tuple):
        return type(tree)(mapped(item, change) for item in tree)
    if isinstance(tree, dict):
        return {key: mapped(value, change) for key, value in tree.items()}
    return change(tree)


def live(nodes: Sequence[Node], output: Any) -> tuple[Node, ...]:
    """Return the nodes on which an output depends."""
    needed = set(values_in(output))
    kept = []
    for node in reversed(nodes):
        if node.number in needed:
            needed.update(values_in((node.arguments, node.keywords)))
            kept.append(node)
    return tuple(reversed(kept))


def _plain(tree: Any) -> Any:
    """Arguments or an output as JSON has them: an object of one entry stands for anything but numbers and text."""
    if isinstance(tree, list | tuple):
        return [_plain(item) for item in tree]
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, Value):
        return {"$value": tree.number}
    if isinstance(tree, Stored):
        return {"$tensor": tree.name}
    if isinstance(tree, Device | torch.device):
        return {"$device": None}
    for kind, type_ in TYPES.items():
        if isinstance(tree, type_):
            return {f"${kind}": str(tree).removeprefix("torch.")}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise UserError(f"a network of a compact file cannot have the argument {tree!r}")


def _restored(tree: Any) -> Any:
    """Invert `_plain`."""
    if isinstance(tree, list):
        return [_restored(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    content: Any
    kind, content = next(iter(tree.items()), ("", None))
    if kind == "$value":
        return Value(content)
    if kind == "$tensor":
        return Stored(content)
    if kind == "$device":
        return Device()
    if kind.startswith("$"):
        constant = getattr(torch, content)
        if not isinstance(constant, TYPES[kind[1:]]):
            raise UserError(f"a network of a compact file cannot have the argument {content!r}")
        return constant
    return {key: _restored(value) for key, value in tree.items()}
