"""Hashes, results.json and model.pt2 of networks and plans of the test."""

import hashlib
import json

import pytest
import torch
from torch import nn

from sparseift import UserError
from sparseift.runs.results import read_results, versions, write_json, write_results
from sparseift.training.export import export, weights_sha256

from ..report.folders import MAE, judged_by, results_of


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


def test_json_is_written_whole_or_not_at_all(tmp_path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert path.read_text().endswith("}\n")


def results(value: float = 0.25) -> dict:
    return results_of("dense", 0.9, 0, 0.0, "none") | judged_by(MAE, value)


def test_what_is_written_is_read(tmp_path) -> None:
    path = tmp_path / "results.json"
    written = results()
    del written["version"]
    write_results(path, written)
    assert read_results(path) == results() == json.loads(path.read_text())


def test_results_that_no_report_can_use_are_not_written(tmp_path) -> None:
    with pytest.raises(UserError, match=r"^test\.mae is nan; expected a finite number$"):
        write_results(tmp_path / "results.json", results(float("nan")))
    with pytest.raises(UserError, match=r"^metrics is missing$"):
        write_results(tmp_path / "results.json", {key: value for key, value in results().items() if key != "metrics"})
    with pytest.raises(UserError, match=r"^metrics is \[\]; expected at least one metric$"):
        write_results(tmp_path / "results.json", results() | {"metrics": []})
    assert not list(tmp_path.iterdir())


def test_export_takes_any_batch_and_evaluates(tmp_path) -> None:
    net = network().train()
    net(torch.randn(8, 1, 2, 2))  # norms that have seen something
    export(net, torch.zeros(2, 1, 2, 2), tmp_path / "model.pt2")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    program = torch.export.load(tmp_path / "model.pt2").module()
    for count in (1, 2, 5):
        images = torch.randn(count, 1, 2, 2)
        assert torch.allclose(program(images), net.eval()(images), atol=1e-6)


def test_versions() -> None:
    told = versions()
    assert torch.__version__.startswith(told["torch"])
    assert all(value[0].isdigit() for value in told.values())
