"""Masking in place, for all values, types and memory layouts that weights have."""

from math import inf, nan

import pytest
import torch
from torch import Tensor

from sparseift.common import cache
from sparseift.masks.inplace import mask_in_place

SHAPE = (5, 4, 3, 3)
LAYOUTS = {
    "contiguous": lambda tensor: tensor.contiguous(),
    "channels_last": lambda tensor: tensor.contiguous(memory_format=torch.channels_last),
    "transposed": lambda tensor: tensor.transpose(0, 1).contiguous().transpose(0, 1),
    "with gaps": lambda tensor: torch.stack([tensor, tensor], -1)[..., 0],
}
TYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64, torch.complex128]


def values_of(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(SHAPE, generator=generator, dtype=torch.complex128 if dtype.is_complex else torch.float64)
    flat = values.view(-1)
    for place, value in enumerate((nan, inf, -inf, -0.0, 0.0)):
        flat[place::17] = complex(value, -value) if dtype.is_complex else value
    return values.to(dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mask_layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_values_outside_become_zero_and_those_inside_stay_to_the_bit(
    dtype: torch.dtype, layout: str, mask_layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PIECE", 7)
    values = LAYOUTS[layout](values_of(dtype))
    mask = LAYOUTS[mask_layout](torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) < 0.5)
    expected = torch.where(mask, values, torch.zeros((), dtype=dtype))
    mask_in_place(values, mask)
    for found, right in zip(real(values), real(expected), strict=True):
        assert torch.equal(found.isnan(), right.isnan()) and torch.equal(found.nan_to_num(), right.nan_to_num())
        assert torch.equal(found.signbit(), right.signbit())  # no negative zeros outside


def real(values: Tensor) -> list[Tensor]:
    return [values.real, values.imag] if values.is_complex() else [values]


def test_a_parameter_is_masked_in_its_own_memory() -> None:
    weight = torch.nn.Parameter(torch.full((3, 2), inf))
    place = weight.data_ptr()
    mask_in_place(weight, torch.tensor([[True, False]] * 3))
    assert weight.tolist() == [[inf, 0.0]] * 3 and weight.data_ptr() == place and weight.is_leaf
