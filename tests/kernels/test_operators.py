"""The operators fulfil what torch asks of operators: shapes, strides, gradients and no hidden changes."""

import pytest
import torch

from sparseift.kernels import Geometry, Index, convolution
from sparseift.kernels.operators import register


@pytest.fixture(scope="module")
def example() -> dict:
    torch.manual_seed(0)
    geometry = Geometry((6, 3, 3), (2, 1), (1, 1), (1, 1), 2)
    mask = torch.rand(6, 4, 3, 3) < 0.5
    weight = (torch.randn(mask.shape) * mask).requires_grad_()
    x = torch.randn(5, 8, 7, 6, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    register()
    index = Index.build(mask, geometry, geometry.best_tiles(mask.shape, x.shape))
    return {"geometry": geometry, "weight": weight, "x": x, "bias": bias, "index": index}


def test_gather_and_scatter(example: dict) -> None:
    weight, index, operators = example["weight"], example["index"], torch.ops.sparseift
    values = operators.gather(weight, index.positions).detach()
    torch.library.opcheck(operators.gather.default, (weight, index.positions))
    torch.library.opcheck(operators.scatter.default, (values, index.positions, weight.detach()))
    assert torch.equal(operators.scatter(values, index.positions, weight), weight)


@pytest.mark.parametrize("size", [(5, 8, 7, 6), (40, 3, 1, 1), (1, 20, 1, 3), (33, 17, 3, 2)])
def test_layouts(example: dict, size: tuple[int, ...]) -> None:
    operators, x = torch.ops.sparseift, torch.randn(size, requires_grad=True)
    torch.library.opcheck(operators.to_batch_innermost.default, (x,))
    inside = operators.to_batch_innermost(x)
    assert torch.equal(inside, x) and inside.permute(1, 2, 3, 0).is_contiguous()
    torch.library.opcheck(operators.from_batch_innermost.default, (inside.detach().requires_grad_(),))
    outside = operators.from_batch_innermost(inside)
    assert torch.equal(outside, x) and outside.is_contiguous()


def test_convolution(example: dict) -> None:
    index, x = example["index"], example["x"]
    operators, geometry = torch.ops.sparseift, example["geometry"]
    settings = list(geometry.kernel), geometry.numbers
    values = operators.gather(example["weight"], index.positions).detach().requires_grad_()
    arrays = index.forward, index.transposed, index.order
    torch.library.opcheck(operators.convolution.default, (x, values, example["bias"], *arrays, *settings))
    torch.library.opcheck(operators.convolution.default, (x, values, None, *arrays, *settings))
    gradient = operators.convolution(x, values, None, *arrays, *settings).detach()
    of_input = gradient, values.detach(), index.transposed, index.order, list(x.shape), *settings
    torch.library.opcheck(operators.input_gradient.default, of_input)
    of_weight = gradient, x.detach(), index.forward, values.numel(), *settings
    torch.library.opcheck(operators.weight_gradient.default, of_weight)


def test_an_index_of_other_channels_is_refused(example: dict) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        convolution(example["x"][:, :4], example["weight"], None, example["index"], example["geometry"])
