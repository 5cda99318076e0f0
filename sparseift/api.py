"""From a dense network to its Sparse-IFT replacement, and to the plan at which it costs the same FLOPs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

from torch import nn

from . import members
from .errors import BudgetError, UserError
from .graph.attention import with_linear_attention
from .graph.copies import duplicate, follow, meta_copy, names_in
from .graph.examples import Example
from .graph.flops import layer_costs
from .graph.recorder import trace
from .graph.trace import Trace
from .members import Member, exact
from .sparsity import Distribution, Plan, Uniform, dense_plan, eligible_layers, plan_for_budget, plan_for_sparsity


def transform(
    net: nn.Module,
    member: str | Member,
    sparsity: float,
    example: Example,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> nn.Module:
    """The network with its layers replaced by a member of the family: wider, parallel, factorized or doped.

    net: any module; it is left untouched. member: 'sparse_wide', 'sparse_parallel', 'sparse_factorized',
    'sparse_doped', or an instance from `sparseift.members` with options of its own. sparsity: nominal s in (0, 1).
    example: a batch of one or more samples that the network takes, as a tensor, a tuple of arguments or a dict of
    keywords; only its shapes matter. include, exclude: globs of layer names (see `eligible_layers`).

    The result has no zeros yet; `sparsify` also says which of its weights to mask and how many. Attention of torch's
    own comes out as linear layers (see `attention`). Raises UserError, naming the module and the reason, where the
    network can't be transformed.
    """
    member, net = _as_member(member), with_linear_attention(net)
    try:
        return _transformed(net, trace(net, example), member, sparsity, include, exclude)[0]
    except BudgetError as error:
        raise _with_nearest(error, net, example, member, sparsity, Uniform(), include, exclude) from None


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
    """`transform`, and the plan at which the result costs the forward FLOPs of `net`.

    With the dense member the plan has the share `sparsity` of the eligible weights masked instead, at a fraction of
    the cost. distribution: how density is spread over layers, uniform by default. masked=False plans no masks at all.
    Raises BudgetError where no density meets the budget, with the nearest sparsity that does.
    """
    member, distribution = _as_member(member), distribution or Uniform()
    net = with_linear_attention(net)
    record = trace(net, example)
    try:
        new, names, new_record = _transformed(net, record, member, sparsity, include, exclude)
        return new, _plan(new, new_record, names, record, member, sparsity, distribution, masked)
    except BudgetError as error:
        raise _with_nearest(error, net, example, member, sparsity, distribution, include, exclude) from None


def nearest_feasible(
    net: nn.Module,
    example: Example,
    member: Member,
    sparsity: float,
    distribution: Distribution,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> float | None:
    """The sparsity in steps of 0.01 next to `sparsity` at which the member meets the budget of `net`; None if there
    is none."""
    dense = meta_copy(net)
    record = trace(dense, example)

    @cache
    def works(percent: int) -> bool:
        try:
            new, names, new_record = _transformed(dense, record, member, percent / 100, include, exclude)
            _plan(new, new_record, names, record, member, percent / 100, distribution, True)
            return True
        except UserError:
            return False

    start = min(99, max(1, round(100 * sparsity)))
    doubling = [start + sign * step for step in (0, 1, 2, 4, 8, 16, 32, 64) for sign in (1, -1)]
    others = sorted(range(1, 100), key=lambda percent: abs(percent - start))
    near = next((percent for percent in chain(doubling, others) if 1 <= percent <= 99 and works(percent)), None)
    if near is None:
        return None
    far = start  # does not work; halve the way from there
    while abs(near - far) > 1:
        middle = (near + far) // 2
        near, far = (middle, far) if works(middle) else (near, middle)
    return near / 100


def _with_nearest(error: BudgetError, net: nn.Module, example: Example, *choices: Any) -> BudgetError:
    record = trace(net, example)
    layers = record.layers.values()
    if computed := [layer.name for layer in layers if layer.derived]:
        return BudgetError(
            f"{error}; {len(computed)} of its {len(layers)} layers, such as {computed[0]}, compute their weight before "
            "use, where zeros would not stay zero"
        )
    if not eligible_layers(record, *choices[-2:]):
        return error  # at any sparsity
    near = nearest_feasible(net, example, *choices)
    hint = f"the nearest sparsity that works is {near:g}" if near else "no sparsity can"
    return BudgetError(f"sparsity {choices[1]:g} can't be met: {error}; {hint}")


def _as_member(member: str | Member) -> Member:
    if not isinstance(member, str):
        if isinstance(member, type) or not callable(member) or not hasattr(member, "iso_flop"):
            raise UserError(
                f"the member is {_what(member)}; a name such as 'sparse_wide' is meant, or an instance such as "
                "sparseift.members.SparseWide()"
            )
        return member
    kind = getattr(members, "".join(part.title() for part in member.split("_")), None)
    if not hasattr(kind, "iso_flop") or kind is Member:
        raise UserError(
            f"unknown member '{member}'; there are dense, sparse_wide, sparse_parallel, sparse_factorized, sparse_doped"
        )
    return kind()


def _transformed(
    net: nn.Module,
    record: Trace,
    member: Member,
    sparsity: float,
    include: Sequence[str],
    exclude: Sequence[str],
) -> tuple[nn.Module, list[str], Trace]:
    eligible = eligible_layers(record, include, exclude)
    new = duplicate(net)
    before = names_in(new)
    names = member(new, record, eligible, exact(sparsity))
    follow(new, before)
    new_record = trace(new, record.example)
    _check_used(new_record, eligible, names)
    if new_record.output_shapes != record.output_shapes:
        raise UserError(
            f"the transformed network gives outputs of shape {_shapes(new_record)} instead of {_shapes(record)}; "
            "layers whose width the outputs depend on can't be widened"
        )
    return new, names, new_record


def _check_used(record: Trace, eligible: Sequence[str], names: Sequence[str]) -> None:
    """Whether the transformed network runs what was replaced, as far as it still has it, and what is to be masked."""
    present = dict(record.net.named_modules())
    unused = [name for name in (*eligible, *names) if name in present and not record.ran[name]]
    if unused:
        raise UserError(
            f"{unused[0]} does not run in the transformed network: its code holds the dense layer where no replacement "
            "can be put; an attribute, a list or a dict of its module would do"
        )


def _plan(
    new: nn.Module,
    new_record: Trace,
    names: Sequence[str],
    record: Trace,
    member: Member,
    sparsity: float,
    distribution: Distribution,
    masked: bool,
) -> Plan:
    budget = sum(cost.flops for cost in layer_costs(record).values())
    costs = layer_costs(new_record)
    if not masked:
        return dense_plan(new, costs, budget)
    if member.iso_flop:
        return plan_for_budget(new, costs, names, distribution, budget)
    return plan_for_sparsity(new, costs, names, distribution, sparsity, budget)


def _what(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"


def _shapes(record: Trace) -> str:
    return ", ".join(str(tuple(shape)) for shape in record.output_shapes) or "none"
