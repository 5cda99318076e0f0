"""The operators fulfil what torch asks of operators: shapes, strides, gradients and no hidden changes."""

import pytest
import torch

from sparseift.kernels import Geometry, Index, Operand, convolution
from sparseift.kernels.registration import register


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
    values = operators.gather(weight, index.positions, index.entries).detach()
    torch.library.opcheck(operators.gather.default, (weight, index.positions, index.entries))
    torch.library.opcheck(operators.scatter.default, (values, index.positions, index.entries, weight.detach()))
    assert torch.equal(operators.scatter(values, index.positions, index.entries, weight), weight)


@pytest.mark.parametrize("size", [(5, 8, 7, 6), (40, 3, 1, 1), (1, 20, 1, 3), (33, 17, 3, 2)])
def test_layouts(example: dict, size: tuple[int, ...]) -> None:
    operators, x = torch.ops.sparseift, torch.randn(size, requires_grad=True)
    torch.library.opcheck(operators.to_batch_innermost.default, (x,))
    inside = operators.to_batch_innermost(x)
    assert torch.equal(inside, x) and inside.permute(1, 2, 3, 0).is_contiguous()
    torch.library.opcheck(operators.from_batch_innermost.default, (inside.detach().requires_grad_(),))
    outside = operators.from_batch_innermost(inside)
    assert torch.equal(outside, x) and outside.is_contiguous()


def operands(x: torch.Tensor) -> dict[str, Operand]:
    """Operands of each kind."""
    torch.manual_seed(1)
    scale, slope, shift = (torch.randn(x.shape[1], requires_grad=True) for _ in range(3))
    other = torch.randn_like(x).requires_grad_()
    return {
        "plain": Operand(x),
        "scaled": Operand(x, scale, shift=shift),
        "clipped": Operand(x, shift=shift, floor=0.0),
        "summed": Operand(x, other=other),
        "full": Operand(x, scale, other, slope, shift, 0.0),
    }


@pytest.mark.parametrize("kind", ["clipped", "summed", "full"])
def test_operands(example: dict, kind: str) -> None:
    operand = operands(example["x"])[kind]
    torch.library.opcheck(torch.ops.sparseift.evaluate.default, tuple(operand))
    gradient = torch.randn_like(operand.x)
    detached = [part.detach() if isinstance(part, torch.Tensor) else part for part in operand]
    torch.library.opcheck(torch.ops.sparseift.operand_gradient.default, (gradient, *detached))


@pytest.mark.parametrize(("kind", "moments"), [("plain", False), ("scaled", True), ("full", True)])
def test_convolution(example: dict, kind: str, moments: bool) -> None:
    index, operand = example["index"], operands(example["x"])[kind]
    operators, geometry = torch.ops.sparseift, example["geometry"]
    settings = list(geometry.kernel), geometry.numbers
    values = operators.gather(example["weight"], index.positions, index.entries).detach().requires_grad_()
    arrays = index.forward, index.transposed, index.order
    torch.library.opcheck(
        operators.convolution.default, (*operand, values, example["bias"], *arrays, *settings, moments)
    )
    output, mean, _, value = operators.convolution(*operand, values, None, *arrays, *settings, moments)
    gradient = [output.detach(), *((output.detach(), *[mean.detach()] * 3) if moments else (None,) * 4)]
    detached = [part.detach() if isinstance(part, torch.Tensor) else part for part in operand]
    of_value = value.detach() if operand.other is not None else None
    of_input = *gradient, of_value, *detached, values.detach(), index.transposed, index.order, *settings
    torch.library.opcheck(operators.input_gradient.default, of_input)
    if operand.other is None:
        of_weight = *gradient, detached[0], detached[1], detached[4], operand.floor, index.forward, values.numel()
        torch.library.opcheck(operators.weight_gradient.default, (*of_weight, *settings))


def test_an_index_of_other_channels_is_refused(example: dict) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        convolution(Operand(example["x"][:, :4]), example["weight"], None, example["index"], example["geometry"])


def test_an_operand_whose_parts_do_not_fit_is_refused(example: dict) -> None:
    x = example["x"]
    for operand in (Operand(x, torch.ones(8)), Operand(x, shift=torch.ones(7)), Operand(x, other=x[:, :4])):
        with pytest.raises(RuntimeError, match="expected"):
            operand.evaluate() if not operand.plain else convolution(
                operand, example["weight"], None, example["index"], example["geometry"]
            )
