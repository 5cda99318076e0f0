"""Which reshapes split a width into heads: their number stays, and the width of each changes.

A product of two activations, such as that of queries and keys, has batch dimensions: samples and heads. They are
followed backward from the product to the reshape that splits a dimension into several. The other dimensions of the
factors are followed as well, to find out which of the split is the width of a head. Calls that move dimensions, such as
transpose and chunk, have an origin of each dimension; other functions of one or more tensors keep their places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import mul

import torch

from .reference_run import RESHAPES, Step

ATTENTION = "scaled_dot_product_attention"
MATRIX = {"matmul", "bmm", "rmatmul", "baddbmm"}
ENDS = {"linear", "embedding", "einsum", ATTENTION, *MATRIX} | {
    f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)
}

Labels = list[str | int]
"""A name of each dimension of a factor; integers are places of batch dimensions, from the right."""


def find_heads(steps: Sequence[Step]) -> None:
    """Set `heads` and `head_widths` of the steps of a reference run."""
    producer = {value: (step, place) for step in steps for place, value in enumerate(step.outputs)}
    frontier, seen = [end for step in steps for end in _ends(step)], set[tuple[int, int, bool]]()
    while frontier:
        value, dim, batch = end = frontier.pop()
        if end in seen or value not in producer:
            continue
        seen.add(end)
        step, place = producer[value]
        if step.plain_name in ENDS or step.results[place][dim] == 1:
            continue
        if step.name not in RESHAPES:
            frontier += [(source, at, batch) for source, at in _sources(step, place, dim)]
            continue
        before, after = regrouped(step.arguments[0], step.results[0], dim)
        if len(after) > 1:
            (step.heads if batch else step.head_widths).add(dim)
        elif batch or len(before) == 1:
            frontier += [(step.inputs[0], at, batch) for at in before]


def regrouped(before: torch.Size, after: torch.Size, dim: int) -> tuple[list[int], list[int]]:
    """Return the dimensions that a reshape makes dimension `dim` of its result of, and all that it makes of them.

    Dimensions of size 1 are left out.
    """
    old, new = (list(accumulate(shape, mul)) for shape in (before, after))
    shared = {1, *set(old) & set(new)}
    end = min(count for count in shared if count >= new[dim])
    start = max(count for count in shared if count < end)

    def within(counts: list[int], shape: torch.Size) -> list[int]:
        return [d for d, count in enumerate(counts) if start < count <= end and shape[d] > 1]

    return within(old, before), within(new, after)


def _ends(step: Step) -> Iterator[tuple[int, int, bool]]:
    """The dimensions of the factors of a product of activations: tensor, dimension, and whether it is of the batch."""
    terms, output = _terms(step)
    if len(terms) < 2 or not all(step.active[place] for place, _ in terms):
        return
    shared = set(terms[0][1]).intersection(*(labels for _, labels in terms[1:]), output)
    for place, labels in terms:
        for dim, label in enumerate(labels):
            yield step.inputs[place], dim, label in shared or isinstance(label, int)


def _terms(step: Step) -> tuple[list[tuple[int, Labels]], Labels]:
    """The factors of a product, by their places among the tensors that it reads, and its result."""
    name, ranks = step.plain_name, [len(shape) for shape in step.arguments]
    if name == "einsum":
        return _einsum_terms(step.equation, ranks)
    first = 1 if name == "baddbmm" else 0
    count = 3 if name == ATTENTION else 2
    if name not in (ATTENTION, *MATRIX) or len(ranks) < first + count or min(ranks[first : first + count]) < 2:
        return [], []
    ends = [["i", "d"], ["j", "d"], ["j", "e"]] if name == ATTENTION else [["i", "d"], ["d", "e"]]
    if name == "rmatmul":
        ends.reverse()
    batch = [[*range(ranks[first + place] - 2, 0, -1)] for place in range(count)]
    return [(first + place, [*batch[place], *ends[place]]) for place in range(count)], []


def _einsum_terms(equation: str, ranks: list[int]) -> tuple[list[tuple[int, Labels]], Labels]:
    terms, arrow, result = equation.replace(" ", "").partition("->")
    named = terms.split(",")
    if not arrow or len(named) != len(ranks):
        return [], []

    def labels(term: str, rank: int) -> Labels:
        left, _, right = term.partition("...")
        return [*left, *range(rank - len(left) - len(right), 0, -1), *right]

    return [(place, labels(term, ranks[place])) for place, term in enumerate(named)], [*result.replace(".", "")]


def _sources(step: Step, place: int, dim: int) -> Iterator[tuple[int, int]]:
    """The dimensions that dimension `dim` of a result of a call comes from, each with its tensor."""
    if step.origins is not None:
        source = step.origins[place][dim]
        if source is not None:
            yield step.inputs[0], source
        return
    after = step.results[place]
    for value, before in zip(step.inputs, step.arguments, strict=True):
        at = dim + len(before) - len(after)  # as tensors are broadcast
        if len(before) == len(after) - 1:  # a dimension is new, as by stack
            new = [d for d in reversed(range(len(after))) if after[:d] + after[d + 1 :] == before]
            at = dim - 1 if not new or dim > new[0] else dim
            at = -1 if new and dim == new[0] else at
        elif before[:-1] == after:  # the last one is gone, as by view_as_complex
            at = dim
        if 0 <= at < len(before) and before[at] > 1:
            yield value, at
