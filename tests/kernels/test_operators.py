"""The operators fulfil what torch asks of operators: shapes, strides, gradients and no hidden changes."""

import pytest
import torch

from sparseift.kernels import Geometry, Index, convolution


@pytest.fixture(scope="module")
def example() -> dict:
    torch.manual_seed(0)
    geometry = Geometry((6, 3, 3), (2, 1), (1, 1), (1, 1), 2)
    mask = torch.rand(6, 4, 3, 3) < 0.5
    weight = (torch.randn(mask.shape) * mask).requires_grad_()
    x = torch.randn(5, 8, 7, 6, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    convolution(x, weight, bias, Index.build(mask, geometry, (0, 0)), geometry)  # registers all operators
    index = Index.build(mask, geometry, geometry.best_tiles(mask.shape, x.shape))
    return {"geometry": geometry, "weight": weight, "x": x, "bias": bias, "index": index}


def test_gather_and_scatter(example: dict) -> None:
    weight, index, operators = example["weight"], example["index"], torch.ops.sparseift
    values = operators.gather(weight, index.positions).detach()
    torch.library.opcheck(operators.gather.default, (weight, index.positions))
    torch.library.opcheck(operators.scatter.default, (values, index.positions, weight.detach()))
    assert torch.equal(operators.scatter(values, index.positions, weight), weight)


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
