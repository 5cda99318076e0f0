"""Spectral gaps of the bipartite graph of a layer: how well its active weights connect inputs and outputs.

A layer is a graph of its inputs (left) and outputs (right) with one edge for each active weight. The eigenvalues of its
adjacency matrix are the singular values of the biadjacency matrix, with both signs; the two largest suffice.
The definitions are those of Hoang et al. (ICLR 2023, NeurIPS 2023), which the paper plots. The iterative gaps are plain
means over subgraphs, as in the code of their first paper; the code of the second weights subgraphs by size. Both codes
count an undefined gap as 0; here it is left out of the mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import nan, sqrt

import torch
from torch import Tensor

GAPS = ("ramanujan_gap", "ramanujan_gap_iterative", "spectral_gap", "spectral_gap_iterative")

STEPS = 48
"""Maximum number of Lanczos steps."""


def spectral_gaps(mask: Tensor, weight: Tensor) -> dict[str, float]:
    """Return the GAPS of a layer by name; an undefined gap is nan.

    The iterative gaps are means over the subgraphs of inputs of equal degree, with at least two inputs each.

    Args:
        mask: Boolean, of shape (out, in, *kernel). The groups of a grouped convolution share their inputs.
        weight: Weight, of the same shape.
    """
    edges = mask.flatten(1).T.float()
    both = torch.stack([edges, edges * weight.detach().flatten(1).T.abs().float()])  # (2, in * kernel, out)
    gap, weighted = _gaps(both[None])[0]
    parts = [gaps for batch in _of_equal_degree(both) for gaps in _gaps(batch)]
    return {
        "ramanujan_gap": gap,
        "ramanujan_gap_iterative": mean_of_defined(gap for gap, _ in parts),
        "spectral_gap": weighted,
        "spectral_gap_iterative": mean_of_defined(weighted for _, weighted in parts),
    }


def top_two(matrices: Tensor) -> Tensor:
    """Return the two largest singular values of each matrix.

    Uses the Lanczos method with full orthogonalization on the shorter side of the matrix: two products with the matrix
    per step, and exact if that side is at most STEPS long. A small constant noise lets the iteration continue when the
    Krylov space is exhausted early, as with repeated singular values.

    Args:
        matrices: Shape (..., rows, columns).

    Returns:
        Shape (..., 2), the larger one first.
    """
    if matrices.shape[-1] > matrices.shape[-2]:
        matrices = matrices.mT
    *batch, rows, size = matrices.shape
    matrices = matrices.reshape(-1, rows, size)
    steps = min(STEPS, size)
    noise = torch.randn(steps + 1, size, 1, generator=torch.Generator().manual_seed(0)).to(matrices)
    basis = matrices.new_zeros(len(matrices), size, steps)
    products = matrices.new_zeros(len(matrices), rows, steps)
    vector = noise[0].expand(len(matrices), -1, -1)
    for step in range(steps):
        known = basis[..., :step]
        for _ in range(2):  # one pass leaves rounding errors
            vector = torch.nn.functional.normalize(vector - known @ (known.mT @ vector), dim=1)
        product = matrices @ vector
        basis[..., step], products[..., step] = vector[..., 0], product[..., 0]
        vector = torch.nn.functional.normalize(matrices.mT @ product, dim=1) + 1e-6 * noise[step + 1]
    squares = torch.linalg.eigvalsh((products.mT @ products).cpu()).clamp(min=0)  # ascending
    values = torch.nn.functional.pad(squares.sqrt().flip(-1), (0, 1))  # the second of a single row is zero
    return values[:, :2].view(*batch, 2)


def ramanujan_gap(edges: int, left: int, right: int, second: float) -> float:
    """Return sqrt(dL - 1) + sqrt(dR - 1) - sigma_2, with the mean degrees dL and dR of nodes that have edges.

    Args:
        edges: Number of edges.
        left: Number of left nodes with edges.
        right: Number of right nodes with edges.
        second: Second singular value of the biadjacency matrix.

    Returns:
        The gap, or nan unless dL >= 3 and dR > 1.
    """
    if not edges or edges / left < 3 or edges / right <= 1:
        return nan
    return sqrt(edges / left - 1) + sqrt(edges / right - 1) - second


def _gaps(graphs: Tensor) -> list[tuple[float, float]]:
    """Ramanujan gap and weighted spectral gap of graphs of shape (n, 2, left, right): edges, and their weights."""
    values = top_two(graphs)
    edges = graphs[:, 0]
    counts = torch.stack([edges.sum((1, 2)), edges.any(2).sum(1), edges.any(1).sum(1)], 1)
    return [
        (ramanujan_gap(edges, left, right, second), first_weight - second_weight)
        for (edges, left, right), ((_, second), (first_weight, second_weight)) in zip(
            counts.tolist(), values.tolist(), strict=True
        )
    ]


def _of_equal_degree(both: Tensor) -> Iterator[Tensor]:
    """The subgraphs of two or more left nodes of equal degree, in batches of similar size.

    A batch has shape (n, 2, left, right) and is padded with nodes without edges.
    """
    degrees = both[0].sum(1).long()
    order = degrees.argsort(stable=True)
    found, counts = degrees[order].unique_consecutive(return_counts=True)
    batches: dict[int, list[Tensor]] = defaultdict(list)
    for degree, nodes in zip(found.tolist(), order.split(counts.tolist()), strict=True):
        if degree and len(nodes) >= 2:
            batches[len(nodes).bit_length()].append(nodes)
    for groups in batches.values():
        filled = torch.nn.utils.rnn.pad_sequence(groups, batch_first=True, padding_value=-1)
        yield both[:, filled].mul((filled >= 0)[..., None]).transpose(0, 1)


def mean_of_defined(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN, or NaN if there are none."""
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined) if defined else nan
