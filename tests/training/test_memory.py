"""The message that a device is out of memory."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sparseift import Masks
from sparseift.training.memory import out_of_memory, readable, stored


def test_what_is_stored() -> None:
    """100 x 50 weights and 100 biases of 4 bytes, as many gradients and momenta, and a byte of mask a weight."""
    net = nn.Linear(50, 100)
    masks = Masks(nn.Sequential(net), {"0": torch.ones(100, 50)})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    expected = {"weights": 4 * 5100, "gradients": 4 * 5100, "optimizer state": 0, "masks": 5000}
    assert stored(net, [optimizer], masks) == expected
    net(torch.ones(1, 50)).sum().backward()
    optimizer.step()
    assert stored(net, [optimizer], masks) == {**expected, "optimizer state": 4 * 5100}
    assert stored(net, [], None)["masks"] == 0


def test_one_line_with_advice() -> None:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    trainer = SimpleNamespace(strategy=strategy, optimizers=[], accumulate_grad_batches=3, precision="32-true")
    told = out_of_memory(trainer, nn.Linear(50, 100), None, batch_size=64)
    assert told == (
        "out of memory on cpu: weights 20.4 kB, gradients 20.4 kB; "
        "try dataset.batch_size=32 trainer.accumulate_grad_batches=6, or trainer.precision=bf16-mixed, "
        "or model.checkpointing=true where the model has it, or trainer=fsdp on several devices, "
        "or a smaller network"
    )
    trainer.precision = "bf16-mixed"
    told = out_of_memory(trainer, nn.Linear(50, 100), None, batch_size=1)
    assert "batch_size" not in told and "precision" not in told


@pytest.mark.parametrize(
    ("size", "text"), [(5, "5 bytes"), (1234, "1.23 kB"), (56_789_012, "56.8 MB"), (80e9, "80 GB")]
)
def test_sizes(size: int, text: str) -> None:
    assert readable(size) == text
