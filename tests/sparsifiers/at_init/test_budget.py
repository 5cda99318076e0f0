"""Choices over all layers at once, against plain loops over every possibility."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseift import UserError
from sparseift.sparsifiers.at_init.base import best_within
from sparseift.sparsity.plan import prices

from ..helpers import mlp, plan_of

quick = settings(deadline=None, max_examples=150)
layers = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.sampled_from([-2.0, 0.0, 0.5, 1.0]), min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)


@quick
@given(layers, st.integers(0, 150))
def test_best_within(given: list[tuple[int, list[float]]], budget: int) -> None:
    if not any(score for _, scores in given for score in scores):
        return
    masks = best_within(
        {str(i): torch.tensor(scores) for i, (_, scores) in enumerate(given)},
        {str(i): price for i, (price, _) in enumerate(given)},
        budget,
    )
    everything = [(-score, i, j) for i, (_, scores) in enumerate(given) for j, score in enumerate(scores)]
    chosen, spent = set(), 0
    for _, i, j in sorted(everything):
        spent += given[i][0]
        if spent > budget:
            break
        chosen.add((i, j))
    assert {(int(name), j) for name, mask in masks.items() for j in mask.nonzero().flatten().tolist()} == chosen


def test_masks_have_the_shapes_of_the_scores() -> None:
    scores = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(4.0).view(2, 2, 1)}
    masks = best_within(scores, {"a": 1, "b": 1}, 3)
    assert masks["a"].tolist() == [[False] * 3, [True] * 3] and not masks["b"].any()  # 5, 4, and the first 3
    assert masks["b"].shape == (2, 2, 1)


@pytest.mark.parametrize(("bad", "named"), [(float("nan"), "finite"), (float("inf"), "finite"), (0.0, "zero")])
def test_scores_must_say_something(bad: float, named: str) -> None:
    with pytest.raises(UserError, match=named):
        best_within({"a": torch.tensor([0.0, bad])}, {"a": 1}, 1)


def test_a_weight_costs_its_flops_where_flops_are_met_and_one_where_a_sparsity_is() -> None:
    net = mlp(4, 6, 3)
    assert prices(plan_of(net, {"0": 3, "2": 3}, price={"0": 10, "2": 4})) == {"0": 10, "2": 4}
    assert prices(plan_of(net, {"0": 3, "2": 3})) == {"0": 1, "2": 1}
