"""The shape rules return what torch returns, and do not import its compiler."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift.graph.meta_kernels import Shapes


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, device="meta", dtype=dtype)


CALLS: dict[str, Callable[[], Tensor]] = {
    "sum": lambda: meta(2, 3) + meta(2, 3),
    "sum, stretched": lambda: meta(2, 3) + meta(3),
    "sum of two types": lambda: meta(2, 3) + meta(2, 3, dtype=torch.float64),
    "sum with a number": lambda: meta(2, 3) + 1,
    "sum with a factor": lambda: torch.add(meta(2, 3), meta(2, 3), alpha=2),
    "linear": lambda: nn.Linear(5, 7, device="meta")(meta(2, 3, 5)),
    "linear without a batch": lambda: nn.Linear(5, 7, device="meta", bias=False)(meta(5)),
    "linear of two types": lambda: nn.Linear(5, 7, device="meta")(meta(2, 5, dtype=torch.float64)),
    "linear of a vector": lambda: F.linear(meta(2, 5), meta(5)),
    "batch norm": lambda: nn.BatchNorm2d(4, device="meta").eval()(meta(2, 4, 6, 6)),
    "batch norm in training": lambda: nn.BatchNorm2d(4, device="meta")(meta(2, 4, 6, 6)),
    "batch norm, not affine": lambda: nn.BatchNorm1d(4, affine=False, device="meta").eval()(meta(2, 4)),
    "pooling": lambda: nn.AdaptiveAvgPool2d(3)(meta(2, 4, 6, 6)),
    "pooling without a batch": lambda: nn.AdaptiveAvgPool2d((1, 2))(meta(4, 6, 6)),
    "pooling of one side": lambda: nn.AdaptiveAvgPool2d((None, 2))(meta(2, 4, 6, 6)),
    "normal": lambda: meta(2, 3).normal_(0, 1),
    "uniform": lambda: nn.init.kaiming_uniform_(meta(2, 3), a=1),
    "of the CPU": lambda: torch.ones(2, 3) + torch.ones(2, 3),
}

MISTAKES: dict[str, Callable[[], Tensor]] = {
    "linear": lambda: nn.Linear(5, 7, device="meta")(meta(2, 6)),
    "batch norm": lambda: nn.BatchNorm2d(4, device="meta").eval()(meta(2, 5, 6, 6)),
    "sum": lambda: meta(2, 3) + meta(2, 4),
    "pooling": lambda: nn.AdaptiveAvgPool2d(3)(meta(4, 6)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_shape_rule_returns_what_torch_returns(name: str) -> None:
    expected = CALLS[name]()
    with Shapes():
        found = CALLS[name]()
    assert (found.shape, found.dtype, found.device) == (expected.shape, expected.dtype, expected.device)
    assert expected.is_meta or torch.equal(found, expected)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_left_to_torch(name: str) -> None:
    with pytest.raises((RuntimeError, ValueError)), Shapes():
        MISTAKES[name]()


PROGRAM = """
import sys
import torch
from sparseift import sparsify
from sparseift.models import resnet18_cifar
from sparseift.graph.meta_kernels import Shapes

with Shapes(), torch.device("meta"):
    net = resnet18_cifar(num_classes=10, in_channels=3, base_width=8, zero_init_residual=True)
sparsify(net, "sparse_wide", 0.75, torch.empty(1, 3, 32, 32))
print("torch._dynamo" in sys.modules)
"""


def test_a_network_is_planned_without_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
