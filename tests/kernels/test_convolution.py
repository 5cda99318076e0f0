"""Outputs and gradients of the kernels against torch in float64; torch's own float32 sets the tolerance."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparseift.backends.sparse import COMPUTED_BY, SparseLayer

ROUNDING = 4 * 2**-24
"""Error that a sum may have where torch's has little by chance: four roundings of the sum of its terms' magnitudes."""

each_set = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def gradients(layer: nn.Module, x: Tensor, gradient: Tensor) -> list[Tensor]:
    """The output, and the gradients of the input and the parameters."""
    x = x.clone().requires_grad_()
    output = layer(x)
    return [output.detach(), *torch.autograd.grad(output, [x, *layer.parameters()], gradient)]


def check(layer: nn.Module, x: Tensor, density: float, tiles: tuple[int, int] | None = None) -> None:
    """Compare a layer with itself in float64, each of them with weights that are zero outside of a random mask."""
    mask = torch.rand_like(layer.weight) < density
    layer.weight.data *= mask
    gradient = torch.randn_like(layer(x))
    exact = gradients(copy.deepcopy(layer).double(), x.double(), gradient.double())
    positive = copy.deepcopy(layer).double()
    for parameter in positive.parameters():
        parameter.data.abs_()
    magnitudes = gradients(positive, x.double().abs(), gradient.double().abs())  # terms may cancel, their sizes do not
    usual = gradients(layer, x, gradient)
    layer.__class__ = COMPUTED_BY[type(layer)]
    assert isinstance(layer, SparseLayer)
    layer.follow(mask)
    if tiles:
        layer._tiles[layer._as_image(x).shape] = tiles
    ours = gradients(layer, x, gradient)
    assert not ours[2][~mask].any()
    for kind in (exact, usual):
        kind[2] *= mask
    for one, torchs, true, size in zip(ours, usual, exact, magnitudes, strict=True):
        tolerance = 2 * (torchs - true).norm() + ROUNDING * size.norm()
        assert one.shape == true.shape and (one - true).norm() <= tolerance, layer


@given(st.data())
@each_set
def test_convolutions_of_any_geometry(instruction_set: str, data: st.DataObject) -> None:
    def pair(low: int, high: int) -> tuple[int, int]:
        return data.draw(st.integers(low, high)), data.draw(st.integers(low, high))

    torch.manual_seed(data.draw(st.integers(0, 99)))
    kernel, stride, padding, dilation, size = pair(1, 5), pair(1, 3), pair(0, 3), pair(1, 2), pair(1, 19)
    assume(all(n + 2 * p > d * (k - 1) for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)))
    groups = data.draw(st.sampled_from([1, 2, 4]))
    channels = (groups * data.draw(st.integers(1, 9)), groups * data.draw(st.integers(1, 9)))
    layer = nn.Conv2d(*channels, kernel, stride, padding, dilation, groups, bias=data.draw(st.booleans()))
    check(layer, torch.randn(data.draw(st.integers(1, 40)), channels[0], *size), data.draw(st.floats(0.05, 1.0)))


@given(st.data())
@each_set
def test_linears_and_convolutions_in_one_dimension(instruction_set: str, data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 99)))
    inputs, outputs, batch = (data.draw(st.integers(1, most)) for most in (70, 70, 300))
    density, lead = data.draw(st.floats(0.05, 1.0)), data.draw(st.sampled_from([(), (3,)]))
    check(nn.Linear(inputs, outputs), torch.randn(*lead, batch, inputs), density)
    check(nn.Conv1d(inputs, outputs, 3, padding=1), torch.randn(data.draw(st.integers(1, 5)), inputs, batch), density)


@pytest.mark.parametrize("tile", range(7))
def test_every_tile(instruction_set: str, tile: int) -> None:
    """Also with more channels than a block of the index has, and samples that fill no vector."""
    torch.manual_seed(tile)
    check(nn.Conv2d(70, 600, 3, padding=1), torch.randn(19, 70, 9, 10), 0.1, (tile, 6 - tile))
    check(nn.Conv2d(70, 60, 3, stride=2, padding=1), torch.randn(33, 70, 9, 10), 0.1, (tile, 6 - tile))


def test_depthwise_convolutions_and_empty_rows(instruction_set: str) -> None:
    torch.manual_seed(0)
    check(nn.Conv2d(64, 64, 3, padding=1, groups=64), torch.randn(16, 64, 8, 8), 0.5)
    check(nn.Conv2d(64, 64, 3, padding=1), torch.randn(16, 64, 8, 8), 0.001)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(threads: int) -> None:
    layer, x = nn.Conv2d(40, 50, 3, padding=1), torch.randn(20, 40, 9, 9)
    layer.__class__ = COMPUTED_BY[nn.Conv2d]
    layer.follow(torch.rand_like(layer.weight) < 0.3)
    gradient = torch.randn_like(layer(x))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = gradients(layer, x, gradient)
        torch.set_num_threads(threads)
        layer.follow(layer._mask)
        assert all(torch.equal(one, other) for one, other in zip(alone, gradients(layer, x, gradient), strict=True))
    finally:
        torch.set_num_threads(before)
