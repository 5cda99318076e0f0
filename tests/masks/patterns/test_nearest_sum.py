"""The choice of one option of each layer, against a loop over all choices."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from sparseift.masks.patterns.nearest_sum import nearest_sum

quick = settings(deadline=None, max_examples=150)


@quick
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=3), min_size=1, max_size=5), st.integers(0, 150))
def test_nearest_sum(options: list[list[int]], target: int) -> None:
    chosen = nearest_sum(options, target)
    found = sum(each[i] for each, i in zip(options, chosen, strict=True))
    best = min((sum(choice) for choice in product(*options)), key=lambda total: (abs(total - target), total))
    assert found == best


def test_nearest_sum_of_large_numbers() -> None:
    """A giga-FLOP apart, to a millionth."""
    options = [[10**9 + 7 * i, 3 * 10**9 + 11 * i] for i in range(12)]
    target = 21 * 10**9
    chosen = nearest_sum(options, target)
    found = sum(each[i] for each, i in zip(options, chosen, strict=True))
    best = min(abs(sum(choice) - target) for choice in product(*options))
    assert abs(found - target) <= best + 12 * 1e-6 * target
