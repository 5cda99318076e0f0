"""When masks move and how much of them: published counts and formulas."""

from itertools import pairwise
from math import cos, e, isfinite, pi, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseift import UserError
from sparseift.sparsifiers import DenseWarmup, RigL, Schedule, Sparsifier, Static

PAPER = {"update_interval": 100, "begin": 0.0, "end": 0.75, "drop_fraction": 0.3, "anneal": "cosine"}


def schedule(**changes: object) -> Schedule:
    return Schedule(**{**PAPER, **changes})


def steps_due(schedule: Schedule, total: int) -> list[int]:
    return [step for step in range(1, total + 1) if schedule.due(step, total)]


@pytest.mark.parametrize(
    ("total", "first", "last", "count"),
    [(78_200, 100, 58_600, 586), (450_450, 100, 337_800, 3_378)],
    ids=["cifar", "imagenet"],
)
def test_number_of_updates_of_the_published_runs(total: int, first: int, last: int, count: int) -> None:
    due = steps_due(schedule(), total)
    assert (due[0], due[-1], len(due)) == (first, last, count)
    assert all(step % 100 == 0 for step in due)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"update_interval": 10, "end": 0.5}, [10, 20, 30, 40]),  # 50 is the end itself
        ({"update_interval": 10, "begin": 0.2, "end": 0.5}, [30, 40]),  # 20 is the beginning itself
        ({"update_interval": 10, "end": 1.0}, [10, 20, 30, 40, 50, 60, 70, 80, 90]),
        ({"update_interval": 1, "begin": 0.9, "end": 0.95}, [91, 92, 93, 94]),
        ({"update_interval": 7, "begin": 0.5, "end": 0.75}, [56, 63, 70]),  # multiples of 7
        ({"update_interval": 100, "end": 1.0}, []),
    ],
)
def test_both_ends_are_excluded(changes: dict[str, float], expected: list[int]) -> None:
    assert steps_due(schedule(**changes), 100) == expected


QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = {
    "cosine": (1.0, (1 + sqrt(0.5)) / 2, 0.5, (1 - sqrt(0.5)) / 2, 0.0),
    "constant": (1.0, 1.0, 1.0, 1.0, 1.0),
    "linear": (1.0, 0.75, 0.5, 0.25, 0.0),
    "exponential": (1.0, e**-0.25, e**-0.5, e**-0.75, 1 / e),
}


@pytest.mark.parametrize("anneal", FACTORS)
@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.75), (0.25, 1.0)])
def test_drop_fraction_follows_its_formula_from_begin_to_end(anneal: str, begin: float, end: float) -> None:
    total, plan = 4000, schedule(anneal=anneal, begin=begin, end=end, drop_fraction=0.4)
    steps = [int(total * (begin + quarter * (end - begin))) for quarter in QUARTERS]
    assert [plan.fraction(step, total) for step in steps] == pytest.approx(
        [0.4 * f for f in FACTORS[anneal]], abs=1e-12
    )


def test_cosine_of_the_reference_at_an_arbitrary_step() -> None:
    assert schedule().fraction(12_300, 78_200) == pytest.approx(0.3 * (1 + cos(pi * 12_300 / 58_650)) / 2, abs=1e-12)


@pytest.mark.parametrize("anneal", FACTORS)
def test_sparsifier_passes_its_schedule_on(anneal: str) -> None:
    rigl, plan = RigL(**{**PAPER, "anneal": anneal}), schedule(anneal=anneal)
    assert [rigl.due(step, 1000) for step in range(1, 1001)] == [plan.due(step, 1000) for step in range(1, 1001)]
    assert rigl.fraction(300, 1000) == plan.fraction(300, 1000) > 0


def test_static_is_never_due() -> None:
    assert not any(Static().due(step, 100) for step in range(1, 101))
    assert Static().fraction(50, 100) == 0


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 12),
    st.floats(0, 0.99),
    st.floats(0.01, 1),
    st.sampled_from(sorted(FACTORS)),
    st.integers(1, 200),
    st.floats(0.01, 1),
)
def test_any_run_however_short_has_sane_fractions(
    interval: int, begin: float, end: float, anneal: str, total: int, initial: float
) -> None:
    if begin >= end:
        begin, end = end / 2, end
    plan = schedule(update_interval=interval, begin=begin, end=end, anneal=anneal, drop_fraction=initial)
    fractions = [plan.fraction(step, total) for step in range(1, total + 1)]
    assert all(isfinite(f) and 0 <= f <= initial for f in fractions)
    assert all(later <= earlier for earlier, later in pairwise(fractions))
    assert all(begin * total - 1 < step < end * total and step % interval == 0 for step in steps_due(plan, total))


def test_a_run_of_one_step_can_ask_for_its_fraction() -> None:
    """A trial run: 0.75 of 1 step ends at step 0, where it begins."""
    assert 0 <= schedule().fraction(1, 1) <= 0.3
    assert steps_due(schedule(update_interval=1), 1) == []


def assert_refused(option: str, right: str, changes: dict[str, object]) -> None:
    with pytest.raises(UserError) as error:
        RigL(**{**PAPER, **changes})
    message = str(error.value)
    assert "\n" not in message and option in message and right in message and str(changes[option]) in message


@pytest.mark.parametrize("interval", [0, -100, 0.5, 99.5])
def test_update_interval_is_a_whole_number_of_steps(interval: float) -> None:
    assert_refused("update_interval", "an integer >= 1", {"update_interval": interval})


@pytest.mark.parametrize(("begin", "end"), [(-0.1, 0.75), (0.75, 0.75), (0.8, 0.75), (1.0, 1.0), (0, 1.5), (0, 0)])
def test_begin_and_end_are_fractions_in_order(begin: float, end: float) -> None:
    assert_refused("end", "0 <= begin < end <= 1", {"begin": begin, "end": end})


@pytest.mark.parametrize("drop_fraction", [0, -0.3, 1.01, 30, float("nan")])
def test_drop_fraction_is_a_fraction(drop_fraction: float) -> None:
    assert_refused("drop_fraction", "(0, 1]", {"drop_fraction": drop_fraction})


@pytest.mark.parametrize("anneal", ["cosin", "Cosine", "", None])
def test_anneal_is_one_of_four(anneal: object) -> None:
    assert_refused("anneal", "cosine, constant, linear, exponential", {"anneal": anneal})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("update_interval", value) for value in ("often", None, float("nan"), float("inf"), [100])),
        *((option, value) for option in ("begin", "end", "drop_fraction") for value in ("early", None, [0.5])),
        ("begin", float("nan")),
        ("end", float("nan")),
        ("anneal", ["cosine"]),
    ],
)
def test_a_value_of_the_wrong_kind_is_the_users_mistake_too(option: str, value: object) -> None:
    """The command line hands on whatever was typed."""
    assert_refused(option, "", {option: value})


@pytest.mark.parametrize(("interval", "total", "moves"), [(100, 134, False), (100, 136, True), (1, 2, False)])
def test_a_run_too_short_for_any_update_is_refused(interval: int, total: int, moves: bool) -> None:
    """Updates are before step int(0.75 * total): 100 of 134 steps, 102 of 136 steps."""
    rigl = RigL(**{**PAPER, "update_interval": interval})
    assert bool(rigl.updates(total)) == moves == bool(steps_due(schedule(update_interval=interval), total))
    if moves:
        rigl.check_updates(total)
        return
    with pytest.raises(
        UserError, match=rf"^sparsifier.update_interval is {interval}; .* none of the {total} optimizer"
    ):
        rigl.check_updates(total)


def test_masks_that_are_not_meant_to_move_need_no_updates() -> None:
    Static().check_updates(1)


def test_a_sparsifier_without_an_interval_that_never_updates_is_named() -> None:
    class Never(Sparsifier):
        def due(self, step: int, total: int) -> bool:
            return False

    with pytest.raises(UserError, match=r"^sparsifier is 'Never'; expected another sparsifier or more steps"):
        Never().check_updates(100)


def test_the_sparsifier_after_a_dense_warmup_has_to_move_masks_after_it() -> None:
    """Of 100 steps, updates are in 40 only; the warm-up ends in step 10, or in step 40."""
    then = RigL(**{**PAPER, "update_interval": 40})
    DenseWarmup(0.1, then).check_updates(100)
    told = r"^sparsifier.then.update_interval is 40; .* none of optimizer steps 41 to 100"
    with pytest.raises(UserError, match=told):
        DenseWarmup(0.4, then).check_updates(100)
