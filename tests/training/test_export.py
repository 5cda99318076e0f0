"""Hashes of weights, and exported programs."""

import hashlib

import pytest
import torch
from torch import nn

from sparseift.training.export import export_program, weights_sha256


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def test_the_hash_is_of_names_shapes_types_and_bits() -> None:
    net, digest = network(), hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode() + value.numpy().tobytes())
    assert weights_sha256(net) == digest.hexdigest()


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean", "1.num_batches_tracked", "4.bias"])
def test_any_change_changes_the_hash(name: str) -> None:
    net = network()
    before = weights_sha256(net)
    assert weights_sha256(network()) == before
    with torch.no_grad():
        net.state_dict()[name].view(-1)[-1:].add_(1)
    assert weights_sha256(net) != before


def test_the_hash_tells_minus_zero_and_shapes_apart() -> None:
    nets = [nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)]
    for net, value in zip(nets, (0.0, -0.0, 0.0), strict=True):
        nn.init.constant_(net.weight, value)
    assert len({weights_sha256(net) for net in nets}) == 3


def test_memory_layout_does_not_matter() -> None:
    net = network()
    before = weights_sha256(net)
    assert weights_sha256(net.to(memory_format=torch.channels_last)) == before


def test_types_without_a_numpy_twin() -> None:
    assert weights_sha256(network().bfloat16()) != weights_sha256(network())


def test_export_takes_any_batch_and_evaluates(tmp_path) -> None:
    net = network().train()
    net(torch.randn(8, 1, 2, 2))  # norms that have seen something
    export_program(net, torch.zeros(1, 1, 2, 2), tmp_path / "model.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    program = torch.export.load(tmp_path / "model.pt2").module()
    for count in (1, 2, 5):
        images = torch.randn(count, 1, 2, 2)
        assert torch.allclose(program(images), net.eval()(images), atol=1e-6)
