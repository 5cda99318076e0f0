"""From a dense network to its Sparse-IFT replacement, and to the plan with which it costs the same FLOPs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain

from torch import nn

from .common.checks import one_of, require
from .errors import BudgetError, UserError
from .graph.attention import with_linear_attention
from .graph.copies import duplicate, follow, meta_copy, names_in
from .graph.examples import Example
from .graph.flops import layer_costs
from .graph.recorder import trace
from .graph.trace import Trace
from .members import Dense, Member, SparseDoped, SparseFactorized, SparseParallel, SparseWide, exact
from .sparsity import Distribution, Plan, Uniform, dense_plan, eligible_layers, plan_for_budget, plan_for_sparsity

MEMBERS = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower(): kind
    for kind in (Dense, SparseWide, SparseParallel, SparseFactorized, SparseDoped)
}


def transform(
    net: nn.Module,
    member: str | Member,
    sparsity: float,
    example: Example,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> nn.Module:
    """Return a network with its layers replaced by a member of the family: wider, parallel, factorized or doped.

    The result has no zeros yet; `sparsify` also plans which of its weights to mask. torch's own attention is returned
    as linear layers (see `graph.attention`).

    Args:
        net: Any module; it is left unchanged.
        member: 'sparse_wide', 'sparse_parallel', 'sparse_factorized', 'sparse_doped', or an instance of a class of
            `sparseift.members` with options of its own.
        sparsity: Nominal sparsity s in (0, 1).
        example: A batch of one or more samples that the network takes, as a tensor, a tuple of arguments or a dict of
            keywords; only its shapes matter.
        include: Globs of names of layers that take part although they would not (see `eligible_layers`).
        exclude: Globs of names of layers that do not take part.

    Raises:
        UserError: The network can't be transformed; the message names the module and the reason.
    """
    choices = _Choices(_as_member(member), sparsity, Uniform(), include, exclude)
    record = _trace(net, example)
    try:
        return _transformed(record, choices).net
    except BudgetError as error:
        raise _explained(error, record, choices) from None


def sparsify(
    net: nn.Module,
    member: str | Member,
    sparsity: float,
    example: Example,
    distribution: Distribution | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    masked: bool = True,
) -> tuple[nn.Module, Plan]:
    """Transform a network, and plan the masks with which it costs the forward FLOPs of the dense one.

    The dense member is planned at the given sparsity of its eligible weights instead, at a fraction of the FLOPs.

    Args:
        net, member, sparsity, example, include, exclude: See `transform`.
        distribution: How density is spread over layers; uniform by default.
        masked: Plan masks. If False, the plan masks nothing.

    Returns:
        The network, and its plan.

    Raises:
        BudgetError: No density meets the budget; the message has the nearest sparsity that does.
        UserError: The network can't be transformed.
    """
    choices = _Choices(_as_member(member), sparsity, distribution or Uniform(), include, exclude)
    record = _trace(net, example)
    try:
        result = _transformed(record, choices)
        return result.net, _plan(result, record, choices) if masked else _unmasked_plan(result, record)
    except BudgetError as error:
        raise _explained(error, record, choices) from None


@dataclass(frozen=True)
class _Choices:
    """What the user chooses of a transformation and its plan."""

    member: Member
    sparsity: float
    distribution: Distribution
    include: Sequence[str]
    exclude: Sequence[str]


@dataclass(frozen=True)
class _Result:
    """A transformed network, the names of the layers to mask, and its trace."""

    net: nn.Module
    masked: list[str]
    record: Trace


def _trace(net: nn.Module, example: Example) -> Trace:
    return trace(with_linear_attention(net), example)


def _as_member(member: str | Member) -> Member:
    if isinstance(member, str):
        return MEMBERS[one_of("member", member, MEMBERS)]()
    fits = not isinstance(member, type) and callable(member) and hasattr(member, "iso_flop")
    require(
        fits, "member", member, "a name such as 'sparse_wide' or an instance such as sparseift.members.SparseWide()"
    )
    return member


def _transformed(record: Trace, choices: _Choices) -> _Result:
    eligible = eligible_layers(record, choices.include, choices.exclude)
    new = duplicate(record.net)
    before = names_in(new)
    names = choices.member(new, record, eligible, exact(choices.sparsity))
    follow(new, before)
    modules = dict(new.named_modules())
    fits = isinstance(names, list | tuple) and all(name in modules for name in names)
    require(fits, f"what {type(choices.member).__name__} returns", names, "the names of the layers to mask")
    result = _Result(new, names, trace(new, record.example))
    _check_used(result, eligible)
    if result.record.output_shapes != record.output_shapes:
        raise UserError(
            f"the transformed network gives outputs of shape {_shapes(result.record)} instead of {_shapes(record)}; "
            "layers whose width the outputs depend on can't be widened"
        )
    return result


def _check_used(result: _Result, eligible: Sequence[str]) -> None:
    """Raise a `UserError` unless the transformed network runs the layers that were replaced and those to mask."""
    present = dict(result.net.named_modules())
    unused = [name for name in (*eligible, *result.masked) if name in present and not result.record.ran[name]]
    if unused:
        raise UserError(
            f"{unused[0]} does not run in the transformed network: its code holds the dense layer where no replacement "
            "can be put; an attribute, a list or a dict of its module would do"
        )


def _plan(result: _Result, record: Trace, choices: _Choices) -> Plan:
    """The plan of a transformed network. record: the trace of the dense one."""
    costs, budget = layer_costs(result.record), _budget(record)
    if choices.member.iso_flop:
        return plan_for_budget(result.net, costs, result.masked, choices.distribution, budget)
    return plan_for_sparsity(result.net, costs, result.masked, choices.distribution, choices.sparsity, budget)


def _unmasked_plan(result: _Result, record: Trace) -> Plan:
    return dense_plan(result.net, layer_costs(result.record), _budget(record))


def _budget(record: Trace) -> int:
    return sum(cost.flops for cost in layer_costs(record).values())


def _explained(error: BudgetError, record: Trace, choices: _Choices) -> BudgetError:
    """The error with what would help: another sparsity, or layers whose weights can be masked."""
    layers = record.layers.values()
    if computed := [layer.name for layer in layers if layer.derived]:
        return BudgetError(
            f"{error}; {len(computed)} of its {len(layers)} layers, such as {computed[0]}, compute their weight before "
            "use, where zeros would not stay zero"
        )
    if not eligible_layers(record, choices.include, choices.exclude):
        return error  # at any sparsity
    near = _nearest_feasible(record, choices)
    hint = f"the nearest sparsity that works is {near:g}" if near else "no sparsity can"
    return BudgetError(f"sparsity {choices.sparsity:g} can't be met: {error}; {hint}")


def _nearest_feasible(record: Trace, choices: _Choices) -> float | None:
    """The nearest sparsity in steps of 0.01 at which the member meets the budget; None if there is none."""
    dense = trace(meta_copy(record.net), record.example)

    @cache
    def works(percent: int) -> bool:
        other = replace(choices, sparsity=percent / 100)
        try:
            _plan(_transformed(dense, other), dense, other)
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
    return ", ".join(str(tuple(shape)) for shape in record.output_shapes) or "none"
