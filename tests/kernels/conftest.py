"""The extension, built once for all tests."""

from collections.abc import Iterator

import pytest
import torch

from sparseift.kernels.extension import INSTRUCTION_SETS, load


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of the kernels in turn."""
    usual = load()
    choose = torch.ops.sparseift.choose_instruction_set
    if not choose(request.param):
        pytest.skip(f"the processor lacks {request.param}")
    yield request.param
    choose(usual)
