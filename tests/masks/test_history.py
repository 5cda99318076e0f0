"""What is said about masks over time, against the masks themselves, position by position."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparseift.masks.bits import ones, pack
from sparseift.masks.history import HISTORY_MEASURES, MaskHistory, dead_channels

SHAPES = {"conv": (3, 2, 3, 3), "linear": (5, 7), "one": (1, 1)}
"""With numbers of weights that are no multiples of 8."""

histories = st.lists(st.integers(0, 2**32), min_size=1, max_size=6)


def masks(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    density = torch.rand((), generator=generator)
    return {name: torch.rand(shape, generator=generator) < density for name, shape in SHAPES.items()}


def share(positions: list[bool]) -> float:
    return sum(positions) / len(positions)


def by_hand(seen: list[dict[str, Tensor]], names: list[str]) -> dict[str, float]:
    """HISTORY_MEASURES of the layers `names` taken as one, from lists of booleans."""
    flat = [[bit for name in names for bit in now[name].flatten().tolist()] for now in seen]
    now, before = flat[-1], flat[-2] if len(flat) > 1 else flat[-1]
    rows = [row for name in names for row in seen[-1][name].flatten(1).tolist()]
    return {
        "density": share(now),
        "replaced": sum(a and not b for a, b in zip(now, before, strict=True)) / max(1, sum(now)),
        "itop": share([any(bits) for bits in zip(*flat, strict=True)]),
        "constraint": share([all(bits) for bits in zip(*flat, strict=True)]),
        "hamming": share([a != b for a, b in zip(now, flat[0], strict=True)]),
        "dead_channels": share([not any(row) for row in rows]),
    }


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_ones_are_counted(bits: list[bool]) -> None:
    assert int(ones(pack(torch.tensor(bits)))) == sum(bits)


def test_dead_channels_are_outputs() -> None:
    mask = torch.zeros(4, 2, 3, 3, dtype=torch.bool)
    mask[1, 0, 2, 2] = mask[3] = True
    assert int(dead_channels(mask)) == 2


@given(histories)
def test_every_measure_of_every_layer_and_of_all(seeds: list[int]) -> None:
    history = MaskHistory()
    seen: list[dict[str, Tensor]] = []
    for seed in seeds:
        seen.append(masks(seed))
        total, layers = history.observe(seen[-1])
        assert total == pytest.approx(by_hand(seen, list(SHAPES)))
        assert layers == {name: pytest.approx(by_hand(seen, [name])) for name in SHAPES}
    assert tuple(total) == HISTORY_MEASURES


@given(histories, histories)
def test_a_history_goes_on_from_a_file(before: list[int], after: list[int]) -> None:
    first, file = MaskHistory(), io.BytesIO()
    for seed in before:
        first.observe(masks(seed))
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = MaskHistory()
    second.load_state_dict(torch.load(file, weights_only=True))
    for seed in after:
        assert first.observe(masks(seed)) == second.observe(masks(seed))


def test_state_is_packed() -> None:
    history = MaskHistory()
    history.observe({"layer": torch.ones(16, 64, dtype=torch.bool)})
    assert {part: packed["layer"].nbytes for part, packed in history.state_dict().items()} == dict.fromkeys(
        history.PARTS, 16 * 64 // 8
    )


def test_what_is_saved_does_not_change_afterwards() -> None:
    history = MaskHistory()
    history.observe(masks(0))
    saved = history.state_dict()
    before = {part: {name: bits.clone() for name, bits in saved[part].items()} for part in saved}
    history.observe(masks(1))
    assert all(torch.equal(saved[part][name], before[part][name]) for part in saved for name in SHAPES)
