"""Captures what a network computes with torch.export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from ..common.messages import one_line
from ..errors import UserError
from ..graph.copies import without_cache
from ..graph.examples import Example, inputs_of
from ..graph.pytree import tree_map_only, tree_unflatten
from .program import Device, Input, Node, Program, Stored, Value, live, mapped, operator_named

SAMPLES = 2
"""Batch size of the example: torch takes a size of 1 for a constant."""


def capture(net: nn.Module, example: Example, first: Iterable[str] = ()) -> tuple[Program, dict[str, Tensor]]:
    """Return what a network in evaluation mode computes, and its tensors by name.

    Sizes of the batch and of sequences of tokens stay variable where the network allows it.

    Args:
        example: Inputs of one sample, for their shapes and types.
        first: Names of tensors that are preferred where a tensor has several names.

    Raises:
        UserError: The network cannot be exported, or does more than to compute tensors from tensors.
    """
    exported = _exported(net, example)
    names = _names(exported, list(first))
    values: dict[fx.Node, Any] = {}
    inputs: list[Input] = []
    nodes: list[Node] = []
    output = None
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            values[node] = Stored(names[node.name])
        elif node.op == "placeholder":
            values[node] = Value(len(inputs))
            inputs.append(_input(node, exported.range_constraints))
        elif node.op == "call_function":
            number = len(inputs) + len(nodes)
            arguments, keywords = (_arguments(tree, values) for tree in (node.args, node.kwargs))
            values[node] = Value(number)
            nodes.append(Node(number, _name(node.target), arguments, keywords))
        elif node.op == "output":
            output = _output(exported, [values[leaf] for leaf in node.args[0]])
        else:
            raise UserError(f"{type(net).__name__} has a part that torch.export does not see through: {node.target}")
    alive = live(nodes, output)  # without those that only check sizes
    for one in alive:
        operator_named(one.operator)
    used: set[str] = set()
    mapped([[one.arguments, one.keywords] for one in alive], lambda leaf: _note(leaf, used))
    tensors = {name: _tensor(exported, name) for name in dict.fromkeys(names.values()) if name in used}
    return Program(tuple(inputs), alive, output), tensors


def _exported(net: nn.Module, example: Example) -> torch.export.ExportedProgram:
    args, kwargs = tree_map_only(
        Tensor, lambda tensor: torch.zeros(SAMPLES, *tensor.shape[1:], dtype=tensor.dtype), inputs_of(example)
    )
    inputs = dict(signature(net.forward).bind(*args, **kwargs).arguments)
    if not all(isinstance(one, Tensor) for one in inputs.values()):
        raise UserError(f"{type(net).__name__} is called with more than tensors, which no compact file can hold")
    auto = torch.export.Dim.AUTO
    sizes = {name: {0: auto} if one.is_floating_point() else {0: auto, 1: auto} for name, one in inputs.items()}
    try:
        with torch.no_grad(), without_cache(net):
            exported = torch.export.export(net.eval(), args, kwargs, dynamic_shapes=sizes)
            return exported.run_decompositions({})  # no operator changes its arguments then
    except UserError:
        raise
    except Exception as error:  # of the code of the network
        raise UserError(f"torch.export cannot export {type(net).__name__}: {one_line(error, whole=False)}") from error


def _names(exported: torch.export.ExportedProgram, first: list[str]) -> dict[str, str]:
    """The name of the tensor of each placeholder; one name for all placeholders of the same tensor."""
    targets = {
        one.arg.name: one.target for one in exported.graph_signature.input_specs if one.kind != InputKind.USER_INPUT
    }
    if exported.graph_signature.buffers_to_mutate:
        raise UserError(f"the network changes its buffer {min(exported.graph_signature.buffers_to_mutate.values())}")
    known: dict[Any, str] = {}
    order = sorted(targets.values(), key=lambda name: name not in first)
    for name in order:
        tensor = _tensor(exported, name)
        known.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name, name)
    shared = {}
    for name in order:
        tensor = _tensor(exported, name)
        shared[name] = known[(tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name]
    return {placeholder: shared[target] for placeholder, target in targets.items()}


def _tensor(exported: torch.export.ExportedProgram, name: str) -> Tensor:
    tensor = exported.state_dict.get(name, exported.constants.get(name))
    if not isinstance(tensor, Tensor):
        raise UserError(f"the network has {name}, which is no tensor")
    return tensor.detach()


def _input(node: fx.Node, limits: Mapping[Any, Any]) -> Input:
    tensor = node.meta["val"]
    if not isinstance(tensor, Tensor):
        raise UserError(f"the network has the argument {node.name}, which is no tensor")
    return Input(
        node.name, tuple(_size(size, limits) for size in tensor.shape), str(tensor.dtype).removeprefix("torch.")
    )


def _size(size: Any, limits: Mapping[Any, Any]) -> tuple[int, int | None]:
    """The smallest and largest value of a size. Torch gives 2 as the smallest one of sizes that may also be 1."""
    if isinstance(size, int):
        return size, size
    limit = limits.get(size.node.expr)
    low, high = (limit.lower, limit.upper) if limit else (SAMPLES, None)
    return (1 if int(low) <= SAMPLES else int(low)), (int(high) if high is not None and high.is_Integer else None)


def _name(target: Any) -> str:
    module = getattr(target, "__module__", "")
    return f"operator.{target.__name__}" if module in ("_operator", "operator") else str(target)


def _arguments(tree: Any, values: Mapping[fx.Node, Any]) -> Any:
    if isinstance(tree, fx.Node):
        return values[tree]
    if isinstance(tree, tuple | list):
        return (
            type(tree)(_arguments(item, values) for item in tree)
            if type(tree) is tuple
            else [_arguments(item, values) for item in tree]
        )
    if isinstance(tree, Mapping):
        return {key: _arguments(value, values) for key, value in tree.items()}
    return Device() if isinstance(tree, torch.device) else tree


def _output(exported: torch.export.ExportedProgram, leaves: list[Any]) -> Any:
    """The output as lists and dicts, or the first part of an output of transformers (see `results_in`)."""
    spec = exported.call_spec.out_spec
    assert spec is not None
    if hasattr(spec.type, "to_tuple"):
        return leaves[0]
    return tree_unflatten(leaves, spec)


def _note(leaf: Any, names: set[str]) -> None:
    if isinstance(leaf, Stored):
        names.add(leaf.name)
