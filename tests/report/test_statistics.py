"""Intervals against scipy's own tests, and the cases in which there is none."""

import pytest
from scipy.stats import ttest_ind, ttest_rel

from sparseift.report.statistics import difference, spread

OURS = {0: 93.0, 1: 94.0, 2: 94.5, 3: 92.1}
DENSE = {0: 90.0, 1: 92.0, 2: 91.0, 3: 91.9}


def test_pairs_of_one_seed() -> None:
    found = difference(OURS, DENSE)
    test = ttest_rel(list(OURS.values()), list(DENSE.values()))
    expected = test.confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.mean, found.how) == (pytest.approx(2.175), "4 pairs")


def test_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, deviation 1, so 2 -+ 4.302653 / sqrt(3) with the t quantile of two degrees."""
    found = difference({0: 1, 1: 2, 2: 3}, {0: 0, 1: 0, 2: 0})
    assert found.interval == pytest.approx((2 - 2.484137, 2 + 2.484137), abs=1e-5)
    assert not found.significant


def test_order_of_the_runs_does_not_matter_but_the_seed_does() -> None:
    shuffled = dict(sorted(DENSE.items(), reverse=True))
    assert difference(OURS, shuffled) == difference(OURS, DENSE)
    others = dict(zip(DENSE, [92.0, 90.0, 91.9, 91.0], strict=True))
    assert difference(OURS, others).mean == pytest.approx(difference(OURS, DENSE).mean)
    assert difference(OURS, others).interval != pytest.approx(difference(OURS, DENSE).interval)


def test_only_common_seeds_are_paired() -> None:
    found = difference(OURS, {1: 92.0, 2: 91.0, 9: 12.0})
    expected = ttest_rel([94.0, 94.5], [92.0, 91.0]).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.how) == (pytest.approx(2.75), "2 pairs")


@pytest.mark.parametrize("seeds", [(10, 11, 12), (0, 11, 12)], ids=["no common seed", "one common seed"])
def test_welch_where_there_are_no_pairs(seeds) -> None:
    dense = dict(zip(seeds, [90.0, 92.0, 91.5], strict=True))
    found = difference(OURS, dense)
    expected = ttest_ind(list(OURS.values()), list(dense.values()), equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.how == "4 and 3 runs"


@pytest.mark.parametrize(
    ("ours", "dense", "mean", "how"),
    [
        ({0: 93.0}, {0: 90.0, 1: 80.0}, 3.0, "1 pair"),
        ({5: 93.0}, {0: 90.0, 1: 92.0}, 2.0, "1 and 2 runs"),
        ({0: 93.0, 1: 95.0}, {0: 90.0, 1: 92.0}, 3.0, "2 pairs"),
        ({0: 93.0, 1: 93.0}, {2: 90.0, 3: 90.0}, 3.0, "2 and 2 runs"),
    ],
    ids=["one pair", "one run", "equal differences", "no spread"],
)
def test_no_interval_and_nothing_significant_without_noise_to_judge_by(ours, dense, mean, how) -> None:
    found = difference(ours, dense)
    assert (found.mean, found.interval, found.how, found.significant) == (pytest.approx(mean), None, how, False)


def test_rounding_errors_are_no_noise() -> None:
    assert difference({0: 0.1 + 0.2, 1: 1.3}, {0: 0.0, 1: 1.0}).interval is None


@pytest.mark.parametrize("sign", [1, -1])
def test_significant_either_way(sign) -> None:
    found = difference({seed: sign * value for seed, value in OURS.items()}, dict.fromkeys(OURS, 0.0))
    assert found.significant


def test_deviation_is_that_of_a_sample() -> None:
    assert spread([1.0, 3.0]) == pytest.approx(2**0.5)
    assert spread([1.0]) is None
