"""Whole updates in a real training loop against a simulation on plain lists."""

from math import inf, nan

import pytest
import torch
from torch import Tensor

from sparseift import Masks, UserError
from sparseift.masks.patterns import Unstructured
from sparseift.masks.second_moments import SECOND_MOMENTS
from sparseift.sparsifiers import SET, RigL, Static, Update

from . import reference
from .helpers import updated

TOTAL = 12
OPTIONS = {"update_interval": 2, "begin": 0, "end": 1.0, "drop_fraction": 0.5, "anneal": "linear"}
MOMENTUM = {"lr": 0.05, "momentum": 0.9}


class RecordingSET(SET):
    """SET that shows the scores it drew, by the weight they are for."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.drawn: dict[Tensor, Tensor] = {}

    def grow_score(self, weight: Tensor, seed: int) -> Tensor:
        self.drawn[weight] = super().grow_score(weight, seed)
        return self.drawn[weight]


def flat(tensor: Tensor) -> list:
    return tensor.detach().flatten().tolist()


def second_moment(moments: list[float], gradient: list[float] | None, active: int, steps: int) -> list[float]:
    """What grown weights start with: the mean, and what constant gradients would have given with a beta2 of 0.999."""
    mean = sum(moments) / active
    return [max(mean, (1 - 0.999**steps) * g * g) for g in gradient] if gradient else [mean] * len(moments)


def both(a: list[bool], b: list[bool]) -> list[bool]:
    return [x and y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [RigL, RecordingSET])
@pytest.mark.parametrize(
    ("optimizer", "settings", "state"),
    [
        (torch.optim.SGD, MOMENTUM, "matched"),
        (torch.optim.Adam, {"lr": 0.01, "amsgrad": True}, "new"),
        (torch.optim.Adam, {"lr": 0.01, "amsgrad": True}, "matched"),
    ],
    ids=["sgd", "adam", "adam-matched"],
)
def test_masks_weights_and_state_move_as_simulated(kind, optimizer, settings, state, dtype, loop, active) -> None:
    run, sparsifier = loop(optimizer, dtype, **settings), kind(**OPTIONS, grown_state=state)
    matched = SECOND_MOMENTS if state == "matched" else ()
    simulated = {name: flat(run.masks[name]) for name in active}
    regrown = updates = 0
    for step in range(1, TOTAL + 1):
        run.backward(step)
        if step % 2 or step == TOTAL:
            assert not sparsifier.due(step, TOTAL)
            run.masks.mask_gradients()
            run.optimizer.step()
            continue
        fraction = 0.5 * (1 - step / TOTAL)
        before = {name: {key: flat(v) for key, v in run.tensors(name).items()} for name in active}
        moved = updated(sparsifier, run.masks, [run.optimizer], Update(step, TOTAL, 3))
        run.masks.mask_gradients()
        grown = {}
        for name, tensors in before.items():
            old, weight = simulated[name], run.masks.weights[name]
            if weight.grad is None:
                new = kept = old
            else:
                by_gradient = [abs(g) for g in tensors["gradient"]]
                score = by_gradient if kind is RigL else flat(sparsifier.drawn[weight])
                new = reference.updated(tensors["value"], score, old, fraction)
                kept = reference.kept(tensors["value"], old, int(fraction * active[name]))
            stay = both(old, new)
            simulated[name] = new
            grown[name] = [on and not before for on, before in zip(new, old, strict=True)]
            regrown += sum(stay) - sum(kept)
            assert flat(run.masks[name]) == new, f"{name}, step {step}"
            assert sum(new) == run.masks.active[name] == active[name]
            for key, tensor in run.tensors(name).items():
                first = [0.0] * len(new)
                if key in matched:
                    dense = tensors["gradient"] if kind is RigL else None
                    first = second_moment(tensors[key], dense, active[name], step - 1)
                start = [v if on else 0 for v, on in zip(first, grown[name], strict=True)]
                expected = [v if on else other for v, on, other in zip(tensors[key], stay, start, strict=True)]
                tolerance = {torch.float32: 1e-4, torch.bfloat16: 0.02}[dtype] if key in matched else 0
                assert flat(tensor) == pytest.approx(expected, rel=tolerance, abs=0), f"{name}, step {step}: {key}"
        assert moved == sum(sum(places) for places in grown.values())
        run.optimizer.step()
        updates += 1
        for name, places in grown.items():
            for key, tensor in run.tensors(name).items():
                if key in matched:
                    continue
                assert not any(both(places, flat(tensor))), f"{name}, step {step}: {key} of grown weights is 0"
    assert updates == 5 and regrown > 0, "the loop exercises regrowing"


@pytest.mark.parametrize("kind", [RigL, SET])
def test_regrown_weights_train_on_in_the_same_step(kind, loop) -> None:
    """The mask of ones can only grow what it dropped: the update must leave no trace in that layer."""
    run, twin = loop(**MOMENTUM), loop(**MOMENTUM)
    sparsifier = kind(**{**OPTIONS, "drop_fraction": 1.0, "anneal": "constant"})
    for step in (1, 2):
        run.step(sparsifier, step, TOTAL)
        twin.step(Static(), step, TOTAL)
    assert not torch.equal(run.masks["first"], twin.masks["first"])
    assert run.masks["dense"].all()
    for key, tensor in twin.tensors("dense").items():
        assert tensor.any() and torch.equal(run.tensors("dense")[key], tensor), key


def test_weights_and_masks_keep_their_storage(loop, active) -> None:
    run = loop(**MOMENTUM)
    run.step(Static(), 1, TOTAL)
    before = {
        (n, key): tensor.data_ptr() for n in active for key, tensor in run.tensors(n).items() if key != "gradient"
    }
    run.step(RigL(**OPTIONS), 2, TOTAL)
    run.step(RigL(**OPTIONS), 3, TOTAL)
    for (name, key), place in before.items():
        assert run.tensors(name)[key].data_ptr() == place


def test_a_weight_that_is_not_zero_where_masked_is_noticed(loop) -> None:
    run = loop(**MOMENTUM)
    with torch.no_grad():
        weight = run.masks.weights["dead"]
        weight[weight == 0] = 7.0
    with pytest.raises(UserError, match=r"^masked weights of dead are not zero; expected a call of Masks\.apply "):
        run.step(RigL(**OPTIONS), 2, TOTAL)


@pytest.mark.parametrize("where", ["active", "masked", "another layer"])
@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("kind", [RigL, SET])
def test_gradients_that_are_not_finite_move_no_mask(kind, value: float, where: str, loop, active) -> None:
    run = loop(**MOMENTUM)
    run.step(Static(), 1, TOTAL)
    run.backward(2)
    mask, before = run.masks["first"], run.masks.sha256()
    if where == "another layer":  # which has no mask; a loss scaler skips the step all the same
        run.net.norm.weight.grad[0] = value
    else:
        run.masks.weights["first"].grad[mask if where == "active" else ~mask] = value
    moved = updated(kind(**OPTIONS), run.masks, [run.optimizer], Update(2, TOTAL, 0))
    assert {name: int(run.masks[name].sum()) for name in active} == active
    assert run.masks.sha256() == before and moved == 0


def test_masks_laid_out_as_channels_last_weights_are(loop) -> None:
    """A mask made from a weight, e.g. (weight != 0), has its memory layout."""
    expected, run = loop(**MOMENTUM), loop(**MOMENTUM)
    run.net.to(memory_format=torch.channels_last)
    weights = run.masks.weights
    alike = {n: torch.empty_like(w, dtype=torch.bool).copy_(run.masks[n]) for n, w in weights.items()}
    assert not alike["dead"].is_contiguous()
    run.masks = Masks(run.net, alike)
    expected.backward(1)
    for name, weight in expected.masks.weights.items():
        weights[name].grad = None if weight.grad is None else weight.grad.clone()
    for twin in (expected, run):
        assert updated(RigL(**OPTIONS), twin.masks, [twin.optimizer], Update(2, TOTAL, 0)) > 0
    assert run.masks.sha256() == expected.masks.sha256()


def test_a_trial_run_of_one_step_can_update(loop, active) -> None:
    run = loop(**MOMENTUM)
    run.backward(1)
    RigL(**{**OPTIONS, "end": 0.75}).update(run.masks, [run.optimizer], Update(1, 1, 0))
    assert {name: int(run.masks[name].sum()) for name in active} == active


class Shrinking(Unstructured):
    def refill(self, score: Tensor, kept: Tensor, old: Tensor, dropped: int, shape: tuple[int, ...]) -> Tensor:
        return kept


def test_a_pattern_that_grows_another_number_than_was_dropped_is_refused(loop) -> None:
    run = loop(**MOMENTUM)
    run.masks.pattern = Shrinking()
    run.backward(1)
    with pytest.raises(UserError, match=r"^the number of active weights of .* is \d+; expected \d+, as before the upd"):
        RigL(**OPTIONS).update(run.masks, [run.optimizer], Update(1, TOTAL, 0))
