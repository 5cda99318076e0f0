"""Patches in place of samples, against torch in float64."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from sparseift.inference.layers import Conv2d
from sparseift.inference.patches import Patches, best_patches
from sparseift.kernels import Geometry


@given(st.data())
@settings(max_examples=60)
def test_patches_are_convolved_as_the_whole(data: st.DataObject) -> None:
    def pair(low: int, high: int) -> tuple[int, int]:
        return data.draw(st.integers(low, high)), data.draw(st.integers(low, high))

    torch.manual_seed(data.draw(st.integers(0, 99)))
    kernel, stride, padding, dilation, size = pair(1, 4), pair(1, 3), pair(0, 3), pair(1, 2), pair(1, 17)
    assume(all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)))
    layer = nn.Conv2d(3, 4, kernel, stride, padding, dilation).double()
    x = torch.randn(data.draw(st.integers(1, 5)), 3, *size, dtype=torch.float64)
    expected = layer(x)
    output = expected.shape[2], expected.shape[3]
    counts = data.draw(st.integers(1, output[0])), data.draw(st.integers(1, output[1]))
    patches = Patches(Geometry.of(layer), counts, size, output)
    cut = patches.cut(x)
    assert cut.permute(1, 2, 3, 0).is_contiguous() and len(cut) == len(x) * counts[0] * counts[1]
    convolved = nn.functional.conv2d(cut, layer.weight, layer.bias, stride, 0, dilation)
    joined = patches.joined(convolved.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2))
    assert joined.permute(1, 2, 3, 0).is_contiguous()
    assert torch.allclose(joined, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("batch", "side", "counts"),
    [
        (1, 32, (4, 4)),
        (1, 4, (4, 4)),
        (8, 4, None),
        (2, 8, (2, 4)),
        (3, 8, (2, 2)),
        (8, 16, (1, 2)),
        (16, 32, None),
        (64, 8, None),
        (1, 1, None),
    ],
)
def test_the_lanes_are_filled(batch: int, side: int, counts: tuple[int, int] | None) -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    found = best_patches(Geometry.of(layer), (batch, 3, side, side), 16)
    assert (found and sorted(found.counts)) == (counts and sorted(counts))
    assert best_patches(Geometry.of(nn.Conv2d(3, 4, 1)), (batch, 3, side, side), 16) is None


@pytest.mark.parametrize("batch", [1, 3, 8, 9])
@pytest.mark.parametrize("side", [4, 9, 16])
def test_small_batches(batch: int, side: int) -> None:
    torch.manual_seed(0)
    for layer in (nn.Conv2d(20, 30, 3, padding=1), nn.Conv2d(20, 30, 3, stride=2, padding=1, groups=2)):
        mask = torch.rand_like(layer.weight) < 0.2
        layer.weight.data *= mask
        x = torch.randn(batch, 20, side, side)
        ours = Conv2d(
            [None, layer.weight.detach(), layer.bias.detach(), list(layer.stride), [1, 1], [1, 1], layer.groups], mask
        )
        with torch.no_grad():
            usual, found = layer(x), ours(x)
            exact = layer.double()(x.double())
        assert (found - exact).norm() <= 2 * (usual - exact).norm() + 2**-22 * exact.norm()
