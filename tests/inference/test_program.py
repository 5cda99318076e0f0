"""Programs as plain data, and what they may call."""

import json

import pytest
import torch
from torch import Tensor, nn

from sparseift import UserError
from sparseift.inference import capture
from sparseift.inference.program import Program, operator_named
from sparseift.models import GPT


@pytest.mark.parametrize(
    "name",
    [
        *("aten.from_file.default", "aten.save.default", "aten.relu_.default", "aten.as_strided.default"),
        *("aten.add.out", "aten._foobar.default", "aten.nothing.default", "aten.relu.nothing", "aten.__class__.mro"),
        *("operator.attrgetter", "operator.methodcaller", "operator.setitem", "os.system", "prims.add.default", ""),
        *("sparseift.index.default", "aten.relu", "higher_order.cond"),
    ],
)
def test_what_a_program_cannot_call(name: str) -> None:
    with pytest.raises(UserError, match=f"a network of a compact file cannot call {name}"):
        operator_named(name)
    with pytest.raises(UserError, match="cannot call"):
        Program.from_dict({"inputs": [], "nodes": [[0, name, [], {}]], "output": {"$value": 0}})


def test_no_operator_of_files_can_be_called() -> None:
    """Also those that a later version of torch may add."""
    allowed = []
    for schema in torch._C._jit_get_all_schemas():
        if any("file" in argument.name for argument in schema.arguments):
            try:
                operator_named(f"{schema.name.replace('::', '.')}.{schema.overload_name or 'default'}")
            except UserError:
                continue
            allowed.append(schema.name)
    assert not allowed
    assert operator_named("aten.relu.default") is torch.ops.aten.relu.default


def test_constants_of_torch_alone() -> None:
    node = [0, "aten.zeros.default", [[2]], {"dtype": {"$dtype": "float64"}}]
    program = Program.from_dict({"inputs": [], "nodes": [node], "output": {"$value": 0}})
    assert program.nodes[0].keywords == {"dtype": torch.float64}
    for wrong in ("load", "hub", "nothing_of_this_name"):
        node[3] = {"dtype": {"$dtype": wrong}}
        with pytest.raises((UserError, AttributeError)):
            Program.from_dict({"inputs": [], "nodes": [node], "output": {"$value": 0}})


def test_a_program_is_the_same_from_json() -> None:
    program, tensors = capture(GPT(30, 8, 2, 16, heads=2), torch.empty(1, 8, dtype=torch.int64, device="meta"))
    assert Program.from_dict(json.loads(json.dumps(program.as_dict()))) == program
    assert program.inputs[0].shape == ((1, None), (1, 8))  # batch and length are variable
    assert "transformer.wte.weight" in tensors and "lm_head.weight" not in tensors  # the same tensor


class Chooses(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


@pytest.mark.parametrize(
    ("net", "told"),
    [(Chooses(), "torch.export cannot export Chooses: "), (Counts(), "the network changes its buffer calls")],
    ids=str,
)
def test_networks_that_cannot_be_captured(net: nn.Module, told: str) -> None:
    with pytest.raises(UserError, match=told):
        capture(net, torch.empty(1, 3, device="meta"))
