"""Spectral gaps, against numpy's singular values and graphs taken apart by hand."""

from math import isnan, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparseift.masks.spectral_gaps import GAPS, ramanujan_gap, spectral_gaps, top_two


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """All of them, and a zero for matrices that have but one."""
    return np.append(np.linalg.svd(matrix.astype(np.float64), compute_uv=False), 0)


def gaps_by_definition(mask: Tensor, weight: Tensor) -> dict[str, float]:
    """(out, in, *kernel) as biadjacency matrix (in * kernel, out), nodes without edges removed."""
    edges = mask.flatten(1).numpy().T.astype(np.float64)
    weights = np.abs(weight.flatten(1).numpy().T.astype(np.float64)) * edges
    degrees = edges.sum(1)
    groups = [degrees == degree for degree in np.unique(degrees[degrees > 0])]
    groups = [rows for rows in groups if rows.sum() >= 2]

    def ramanujan(part: np.ndarray) -> float:
        part = part[part.any(1)][:, part.any(0)]
        if not part.size:
            return np.nan
        left, right = part.sum(1).mean(), part.sum(0).mean()
        return sqrt(left - 1) + sqrt(right - 1) - singular_values(part)[1] if left >= 3 and right > 1 else np.nan

    def weighted(part: np.ndarray) -> float:
        first, second = singular_values(part)[:2]
        return first - second

    def mean(values: list[float]) -> float:
        values = [value for value in values if not np.isnan(value)]
        return float(np.mean(values)) if values else np.nan

    return {
        "ramanujan_gap": ramanujan(edges),
        "ramanujan_gap_iterative": mean([ramanujan(edges[rows]) for rows in groups]),
        "spectral_gap": weighted(weights),
        "spectral_gap_iterative": mean([weighted(weights[rows]) for rows in groups]),
    }


def layer(shape: tuple[int, ...], density: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) < density, torch.randn(shape, generator=generator)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_top_two_of_any_matrix(shape: tuple[int, int, int], density: float, seed: int) -> None:
    """Among them singular ones, zero, and masks, whose singular values are often equal."""
    mask, weight = layer(shape, density, seed)
    for matrices in (mask.float(), mask * weight):
        expected = np.stack([singular_values(matrix)[:2] for matrix in matrices.numpy()])
        scale = max(1, expected.max())
        np.testing.assert_allclose(top_two(matrices).numpy(), expected, atol=2e-3 * scale)


@pytest.mark.parametrize("matrix", [torch.eye(40), torch.block_diag(*[torch.ones(9, 5)] * 8), torch.zeros(60, 70)])
def test_singular_values_that_occur_more_than_once(matrix: Tensor) -> None:
    expected = singular_values(matrix.numpy())[:2]
    np.testing.assert_allclose(top_two(matrix).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(150, 1200), (1200, 150), (400, 400)])
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_top_two_of_large_masks(shape: tuple[int, int], density: float) -> None:
    """Where the space is far from full: the second value is at the edge of a dense band of them."""
    mask, weight = layer(shape, density)
    for matrix in (mask.float(), (mask * weight).abs(), mask * weight):
        np.testing.assert_allclose(top_two(matrix).numpy(), singular_values(matrix.numpy())[:2], rtol=1e-4)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 8, 3, 3), (30, 64), (5, 3, 1, 7)])
@pytest.mark.parametrize("density", [0.02, 0.2, 0.6, 1.0])
def test_gaps_by_definition(shape: tuple[int, ...], density: float) -> None:
    mask, weight = layer(shape, density)
    found = spectral_gaps(mask, weight)
    assert tuple(found) == GAPS
    assert found == pytest.approx(gaps_by_definition(mask, weight), rel=1e-3, abs=5e-3, nan_ok=True)


def test_masked_weights_do_not_count() -> None:
    mask, weight = layer((20, 30), 0.3)
    assert spectral_gaps(mask, weight) == spectral_gaps(mask, weight * mask)


def test_a_regular_graph() -> None:
    """The complete one: all 6 inputs have degree 4, all 4 outputs 6, and the second singular value is zero."""
    mask = torch.ones(4, 6, dtype=torch.bool)
    found = spectral_gaps(mask, torch.full((4, 6), -0.5))
    assert found["ramanujan_gap"] == pytest.approx(sqrt(3) + sqrt(5), abs=1e-2)
    assert found["ramanujan_gap_iterative"] == pytest.approx(found["ramanujan_gap"])
    assert found["spectral_gap"] == pytest.approx(0.5 * sqrt(24), abs=1e-2)


@pytest.mark.parametrize(("edges", "left", "right"), [(0, 0, 0), (29, 10, 5), (30, 10, 30)])
def test_where_the_gap_is_not_defined(edges: int, left: int, right: int) -> None:
    assert isnan(ramanujan_gap(edges, left, right, 1.0))


def test_measuring_draws_no_random_numbers() -> None:
    mask, weight = layer((20, 30), 0.3)
    before = torch.get_rng_state()
    first = spectral_gaps(mask, weight)
    assert torch.equal(torch.get_rng_state(), before)
    assert spectral_gaps(mask, weight) == first
