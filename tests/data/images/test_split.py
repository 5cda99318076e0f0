"""The held-out images: exact number, class shares, and a draw that depends on its seed alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sparseift.data.images.split import stratified_split

CLASSES = st.lists(st.integers(0, 6), min_size=1, max_size=80)


@given(classes=CLASSES, part=st.floats(0, 1), seed=st.integers(0, 3))
def test_is_a_partition_in_class_shares(classes: list[int], part: float, seed: int) -> None:
    targets = torch.tensor(classes)
    size = round(part * len(classes))
    kept, held_out = stratified_split(targets, size, seed)
    assert len(held_out) == size
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(classes)))
    assert kept.tolist() == sorted(kept.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())
    for c in set(classes):
        exact = size * classes.count(c) / len(classes)
        assert abs(int((targets[held_out] == c).sum()) - exact) < 1


def test_largest_remainders_are_rounded_up() -> None:
    # Shares of 5 of 10: 3.0, 1.5 and 0.5; the remaining image goes to the lower of two equal remainders.
    targets = torch.tensor([0] * 6 + [1] * 3 + [2])
    _, held_out = stratified_split(targets, 5, seed=0)
    assert targets[held_out].bincount().tolist() == [3, 2]

    many = torch.arange(100).repeat(3)
    assert sorted(many[stratified_split(many, 40, seed=0)[1]].tolist()) == list(range(40))


def test_draw_depends_on_the_seed_alone() -> None:
    targets = torch.arange(100) % 10
    draws = [stratified_split(targets, 30, seed)[1].tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_every_image_of_a_class_may_be_drawn() -> None:
    targets = torch.zeros(6, dtype=torch.int64)
    drawn = {stratified_split(targets, 1, seed)[1].item() for seed in range(60)}
    assert drawn == set(range(6))
