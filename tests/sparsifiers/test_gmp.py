"""Gradual magnitude pruning against the formula and against lists."""

from math import nan

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseift import Masks, UserError
from sparseift.sparsifiers import GMP, Update

from .helpers import flat, mlp, plan_of, pruned, updated

NUMEL = {"0": 24, "2": 48, "4": 32}
ACTIVE = {"0": 7, "2": 12, "4": 1}
OPTIONS = {"update_interval": 3, "begin": 0.1, "end": 0.8, "initial_density": 1.0}
TOTAL = 40


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 50), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_schedule(interval: int, total: int, one: float, other: float) -> None:
    begin, end = sorted((one, other))
    if begin == end:
        return
    gmp = GMP(interval, begin, end, 1.0)
    due = [step for step in range(1, total + 1) if gmp.due(step, total)]
    last = max(1, int(end * total))
    first = min(int(begin * total), last - 1)
    assert due[-1] == last, "the plan is met, whatever the interval"
    assert due[:-1] == [step for step in range(first + 1, last) if step % interval == 0]
    masks = masks_of()
    for step in due:
        progress = (step - first) / (last - first)
        for name, count in gmp.counts(masks, gmp.remaining(step, total)).items():
            final = 1 - ACTIVE[name] / NUMEL[name]
            sparsity = final + (0 - final) * (1 - progress) ** 3  # Zhu & Gupta, equation 1
            assert abs(count - NUMEL[name] * (1 - sparsity)) <= 0.5 + 1e-9
    assert gmp.counts(masks, gmp.remaining(last, total)) == ACTIVE


def masks_of(seed: int = 0) -> Masks:
    net = mlp(4, 6, 8, 4)
    return Masks.random(net, plan_of(net, ACTIVE), seed)


def test_a_whole_run_prunes_the_smallest_magnitudes_layer_by_layer() -> None:
    net = mlp(4, 6, 8, 4)
    masks = Masks.random(net, plan_of(net, ACTIVE), 0)
    gmp = GMP(**OPTIONS)
    gmp.start(masks, plan_of(net, ACTIVE), seed=0)
    masks.apply()
    assert masks.active == NUMEL and masks.planned == ACTIVE
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    simulated = {name: [True] * count for name, count in NUMEL.items()}
    images, labels = torch.randn(16, 4), torch.randint(4, (16,))
    for step in range(1, TOTAL + 1):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        if gmp.due(step, TOTAL):
            progress = (step - 4) / (32 - 4)
            gone = 0
            for name, old in simulated.items():
                count = ACTIVE[name] + round((1 - progress) ** 3 * (NUMEL[name] - ACTIVE[name]))
                simulated[name] = pruned(flat(masks.weights[name]), old, count)
                gone += sum(old) - count
            assert updated(gmp, masks, [optimizer], Update(step, TOTAL, 0)) == gone
            masks.mask_gradients()
            assert not any(weight.grad[~masks[name]].any() for name, weight in masks.weights.items())
        else:
            masks.mask_gradients()
        optimizer.step()
        for name, weight in masks.weights.items():
            assert flat(masks[name]) == simulated[name], f"{name}, step {step}"
            assert masks.active[name] == sum(simulated[name])
            state = [value for value in optimizer.state[weight].values() if value.dim()]
            assert not any(tensor[~masks[name]].any() for tensor in (weight, *state))
    assert masks.active == ACTIVE
    assert all(weight[masks[name]].all() for name, weight in masks.weights.items()), "what is active is trained"


def test_sparse_starts_hold_the_planned_weights_and_the_same_share_of_the_others() -> None:
    gmp, masks = GMP(**{**OPTIONS, "initial_density": 0.5}), masks_of(seed=3)
    planned = {name: masks[name] for name in masks}
    gmp.start(masks, None, seed=3)
    share = (0.5 * 104 - 20) / (104 - 20)
    for name, count in masks.active.items():
        assert abs(count - (ACTIVE[name] + share * (NUMEL[name] - ACTIVE[name]))) <= 0.5
        assert masks[name][planned[name]].all()
    assert abs(masks.density - 0.5) < 1.5 / 104
    assert masks.active == gmp.counts(masks, 1.0) and masks.planned == ACTIVE


@pytest.mark.parametrize("total", [1, 2, 5])
def test_short_runs_end_as_planned(total: int) -> None:
    masks, gmp = masks_of(), GMP(**{**OPTIONS, "update_interval": 1000})
    gmp.start(masks, None, seed=0)
    for step in range(1, total + 1):
        if gmp.due(step, total):
            gmp.update(masks, [], Update(step, total, 0))
    assert masks.active == ACTIVE


def test_gradients_that_are_not_finite_do_not_put_pruning_off() -> None:
    """A loss scaler skips the step, but there may be no other one to prune in."""
    masks, gmp = masks_of(), GMP(**OPTIONS)
    gmp.start(masks, None, seed=0)
    for weight in masks.weights.values():
        weight.grad = torch.full_like(weight, nan)
    gmp.update(masks, [], Update(32, TOTAL, 0))
    assert masks.active == ACTIVE


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"update_interval": 0}, "update_interval"),
        ({"update_interval": 1.5}, "update_interval"),
        ({"begin": 0.9}, r"\(0.9, 0.8\)"),
        ({"end": nan}, "nan"),
        ({"end": "late"}, "late"),
        ({"initial_density": 0}, "initial_density"),
        ({"initial_density": 1.1}, "initial_density"),
    ],
)
def test_mistakes(change: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named) as error:
        GMP(**{**OPTIONS, **change})
    assert "\n" not in str(error.value)


def test_a_start_sparser_than_the_end_is_refused() -> None:
    plan = plan_of(mlp(4, 6, 8, 4), ACTIVE)  # 20 of 104
    with pytest.raises(UserError, match="initial_density"):
        GMP(**{**OPTIONS, "initial_density": 0.19}).accept(plan)
    GMP(**{**OPTIONS, "initial_density": 0.2}).accept(plan)


def test_with_given_weights_the_initial_masks_keep_the_largest() -> None:
    net = mlp(4, 6, 8, 4)
    masks = Masks.largest(net, plan_of(net, ACTIVE), seed=0)
    GMP(**{**OPTIONS, "initial_density": 0.5}).start(masks, plan_of(net, ACTIVE), seed=0)
    assert sum(masks.active.values()) == sum(NUMEL.values()) / 2
    for name in masks:
        magnitudes = masks.weights[name].detach().abs()
        assert magnitudes[masks[name]].min() > magnitudes[~masks[name]].max()
