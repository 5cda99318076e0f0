"""Transform a dense network, and plan the masks with which the result costs the same FLOPs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from inspect import signature
from itertools import chain

import torch
from torch import nn

from .common.checks import one_of, require
from .errors import BudgetError, UserError
from .graph.comparison import difference, trained_parameter
from .graph.copies import duplicate, meta_copy, updated_references
from .graph.examples import Example
from .graph.flops import layer_costs, product_flops, total_flops
from .graph.recorder import trace, trace_modes
from .graph.trace import Trace
from .members import Dense, LocalMember, Member, SparseDoped, SparseFactorized, SparseParallel, SparseWide, exact
from .sparsity import Distribution, Plan, Uniform, dense_plan, eligible_layers, plan_for_budget, plan_for_sparsity
from .surgery.pretrained import keep_format

MEMBERS = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower(): kind
    for kind in (Dense, SparseWide, SparseParallel, SparseFactorized, SparseDoped)
}

BUDGETS = ("total", "layers", "nominal")
"""What the FLOPs of the masks match (see `sparsify`)."""

SAME = 1e-4
"""Largest difference of outputs of networks that compute the same function, relative to the largest output."""


def transform(
    net: nn.Module,
    member: str | Member,
    sparsity: float,
    example: Example,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    keep_weights: bool | None = None,
) -> nn.Module:
    """Return a network with wider, parallel, factorized or doped layers, without zeros.

    nn.MultiheadAttention is replaced by linear layers (see `graph.attention`), and so are modules that compute the same
    function as nn.Linear.

    Args:
        net: Any module, which is left unchanged.
        member: 'dense', 'sparse_wide', 'sparse_parallel', 'sparse_factorized', 'sparse_doped', or an instance of a
            class of `sparseift.members`.
        sparsity: Nominal sparsity s in (0, 1).
        example: A batch of one or more samples, as a tensor, a tuple of arguments or a dict of keywords (see
            `graph.examples`). Its values matter only if the code of the network reads them.
        include: Globs of names of layers to transform besides the eligible ones (see `eligible_layers`).
        exclude: Globs of names of layers not to transform.
        keep_weights: If True, the result computes the same function as `net`. If False, the weights of replaced layers
            are drawn as those of `net` were drawn. Default: False, unless `net` has been trained; then you must choose.

    Raises:
        UserError: The network can't be transformed, has been trained while `keep_weights` is None, or the member can't
            start from its weights.
    """
    new, _ = sparsify(
        net, member, sparsity, example, include=include, exclude=exclude, masked=False, keep_weights=keep_weights
    )
    return new


def sparsify(
    net: nn.Module,
    member: str | Member,
    sparsity: float,
    example: Example,
    distribution: Distribution | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    masked: bool = True,
    budget: str = "total",
    keep_weights: bool | None = None,
) -> tuple[nn.Module, Plan]:
    """Transform a network, and plan the masks with which it costs the forward FLOPs of the dense one.

    The plan of the dense member instead has the given sparsity of the eligible layers.

    Args:
        net, member, sparsity, example, include, exclude, keep_weights: See `transform`. Masks of kept weights should
            keep the largest: `Masks.largest`.
        distribution: Distribution of density over layers. Default: uniform.
        masked: If False, the plan masks nothing.
        budget: What the masks must match: 'total' for all FLOPs of the dense network; 'layers' for those of its
            convolutions and linears, without products such as those of attention; 'nominal' for no FLOPs, with density
            1 - s in the masked layers, as the paper does for GPT. The plan's ratio is that of all FLOPs in each case.

    Returns:
        The network, and its plan.

    Raises:
        BudgetError: No density meets the budget. The message has the nearest sparsity that works.
        UserError: The network can't be transformed.
    """
    one_of("sparsity.budget", budget, BUDGETS)
    kind = _as_member(member)
    if keep_weights is None and not isinstance(kind, Dense) and (trained := trained_parameter(net)):
        expected = f"true, to start from the weights of the network ({trained} has been trained), or false for new ones"
        require(False, "init.keep_weights", None, expected)
    choices = _Choices(kind, sparsity, distribution or Uniform(), include, exclude, budget, bool(keep_weights))
    record = trace_modes(net, example)
    layer_costs(record)  # which refuses a network that can't be counted
    try:
        new, names = _transformed(record, choices)
        keep_format(new.net, net)
        if choices.keep_weights:
            _require_same_function(net, new, choices.member)
        if masked:
            return new.net, replace(_plan(new, names, record, choices), kept=_kept(record, choices))
        return new.net, dense_plan(new.net, layer_costs(new), total_flops(record), product_flops(new))
    except BudgetError as error:
        raise _explained(error, record, choices) from None


@dataclass(frozen=True)
class _Choices:
    """The user's choices for a transformation and its plan."""

    member: Member
    sparsity: float
    distribution: Distribution
    include: Sequence[str]
    exclude: Sequence[str]
    budget: str
    keep_weights: bool


def _as_member(member: str | Member) -> Member:
    if isinstance(member, str):
        return MEMBERS[one_of("member", member, MEMBERS)]()
    fits = not isinstance(member, type) and callable(member) and hasattr(member, "iso_flop")
    require(
        fits, "member", member, "a name such as 'sparse_wide' or an instance such as sparseift.members.SparseWide()"
    )
    return member


def _transformed(record: Trace, choices: _Choices) -> tuple[Trace, list[str]]:
    """The trace of the transformed network, and the names of its layers to mask."""
    eligible = eligible_layers(record, choices.include, choices.exclude)
    new = duplicate(record.net)
    with updated_references(new):
        member: Callable[..., list[str]] = choices.member
        if choices.keep_weights and "keep" in signature(member).parameters:
            member = partial(member, keep=True)
        names = member(new, record, eligible, exact(choices.sparsity))
    present = dict(new.named_modules())
    fits = isinstance(names, list | tuple) and all(name in present for name in names)
    require(fits, f"what {type(choices.member).__name__} returns", names, "the names of the layers to mask")
    result = _checked(new, record)
    if unused := [name for name in (*eligible, *names) if name in present and not result.ran[name]]:
        raise UserError(
            f"{unused[0]} does not run in the transformed network: the code holds the dense layer in an object of its "
            "own; expected an attribute, a list or a dict of a module"
        )
    return result, names


def _checked(new: nn.Module, record: Trace) -> Trace:
    """The trace of the transformed network, after a comparison with the dense one in evaluation and training mode.

    Raises:
        UserError: The transformed network does not run, or returns something else.
    """
    results = []
    for dense in record.modes:
        result = trace(new, record.example, dense.training, "the transformed network", dense.read)
        if result.outputs != dense.outputs:
            mode = " in training mode" if dense.training else ""
            raise UserError(
                f"the transformed network gives outputs of shape {_shapes(result)} instead of {_shapes(dense)}{mode}; "
                "layers whose width the outputs depend on can't be widened"
            )
        results.append(result)
    if (empty := _on_meta(new)) and not _on_meta(record.net):
        raise UserError(f"{min(empty)} of the transformed network is on the meta device, without values")
    return results[0]


def _on_meta(net: nn.Module) -> set[str]:
    return {name for name, tensor in (*net.named_parameters(), *net.named_buffers()) if tensor.is_meta}


def _require_same_function(net: nn.Module, new: Trace, member: Member) -> None:
    """Raise `UserError` unless the transformed network computes the function of `net`. Meta networks have no values."""
    tensors = list(chain(net.parameters(), new.net.parameters()))
    if any(tensor.is_meta for tensor in tensors):
        return
    error = difference(net, new.net, new.example)
    if not error <= max(SAME, *(16 * torch.finfo(tensor.dtype).eps for tensor in tensors)):
        ways = [*filter(None, [getattr(member, "keeps_with", "")]), "init.keep_weights=false to draw new weights"]
        raise UserError(
            f"{type(member).__name__} can't start from the weights of this network: its outputs would differ by "
            f"{error:.2g} of the largest; expected {', or '.join(ways)}"
        )


def _plan(new: Trace, masked: list[str], record: Trace, choices: _Choices) -> Plan:
    """The plan of the transformed network `new`; `record` is the trace of the dense one."""
    costs, budget, products = layer_costs(new), total_flops(record), product_flops(new)
    if choices.member.iso_flop and choices.budget != "nominal":
        excess = products - product_flops(record) if choices.budget == "layers" else 0
        return plan_for_budget(new.net, costs, masked, choices.distribution, budget, products, excess)
    return plan_for_sparsity(new.net, costs, masked, choices.distribution, choices.sparsity, budget, products)


def _kept(record: Trace, choices: _Choices) -> dict[str, str]:
    """The eligible layers that a local member masks as they are, each with the reason."""
    if not isinstance(choices.member, LocalMember):
        return {}
    return choices.member.kept(record, eligible_layers(record, choices.include, choices.exclude))


def _explained(error: BudgetError, record: Trace, choices: _Choices) -> BudgetError:
    """The error with its remedy: the nearest sparsity that works, or why no layer can be masked."""
    layers = record.layers.values()
    if computed := [layer.name for layer in layers if layer.derived]:
        return BudgetError(
            f"{error}; {len(computed)} of its {len(layers)} layers, such as {computed[0]}, compute their weight before "
            "use, where zeros would not stay zero"
        )
    eligible = eligible_layers(record, choices.include, choices.exclude)
    if not eligible:
        return error  # at any sparsity
    kept = _kept(record, choices)
    if set(eligible) == kept.keys():
        name, reason = next(iter(kept.items()))
        return BudgetError(f"{error}: no other module can stand for its layers, such as {name}: {reason}")
    near = _nearest_feasible(record, choices)
    hint = f"the nearest sparsity that works is {near:g}" if near else "no sparsity can"
    return BudgetError(f"sparsity {choices.sparsity:g} can't be met: {error}; {hint}")


def _nearest_feasible(record: Trace, choices: _Choices) -> float | None:
    """The nearest sparsity in steps of 0.01 at which the member meets the budget; None if there is none."""
    dense = trace(meta_copy(record.net), record.example, read=record.read)

    @cache
    def works(percent: int) -> bool:
        other = replace(choices, sparsity=percent / 100)
        try:
            _plan(*_transformed(dense, other), dense, other)
            return True
        except UserError:
            return False

    start = min(99, max(1, round(100 * choices.sparsity)))
    doubling = [start + sign * step for step in (0, 1, 2, 4, 8, 16, 32, 64) for sign in (1, -1)]
    others = sorted(range(1, 100), key=lambda percent: abs(percent - start))
    near = next((percent for percent in chain(doubling, others) if 1 <= percent <= 99 and works(percent)), None)
    if near is None:
        return None
    far = start  # does not work; bisect the sparsities in between
    while abs(near - far) > 1:
        middle = (near + far) // 2
        near, far = (middle, far) if works(middle) else (near, middle)
    return near / 100


def _shapes(record: Trace) -> str:
    return ", ".join(str(tuple(shape)) for shape in record.outputs[0]) or "none"
