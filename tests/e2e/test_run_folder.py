"""What a finished run leaves, each number of it computed again from what was saved."""

import csv
import hashlib
import json
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparseift.app.build import build_network
from sparseift.app.overrides import config_folder, plain_choice

from .programs import (
    BATCHES,
    checkpoint,
    environment,
    files,
    metrics,
    network_state,
    quick,
    results,
    saved_masks,
    unpacked,
)

COMMON = ("recipe.epochs=2", "sparsity=0.75", "sparsity.exclude=[layer1.0.conv1]")
SETTINGS = (*COMMON, "sparsifier.update_interval=4", "export=true")
STEPS, UPDATES = 20, (4, 8, 12)  # 0 < step < 15 = 0.75 * 20
KEYS = [
    "version",
    *("model", "member", "sparsity", "distribution", "sparsifier", "pattern", "backend", "task", "dataset", "seed"),
    *("metrics", "init", "test", "val", "flops", "params", "partial", "epochs", "steps", "planned_steps", "seconds"),
    *("mask_updates", "masks_sha256", "weights_sha256", "data_sha256", "preprocessing", "versions", "layers", "crc32"),
]


@pytest.fixture(scope="module")
def folder(trained) -> Path:
    return trained(*SETTINGS)


@pytest.fixture(scope="module")
def rebuilt():
    """The network of the run and its plan, from its settings alone."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", [plain_choice(setting) for setting in quick(*SETTINGS)])
    return build_network(config, on_meta=False)


def test_files(folder) -> None:
    assert files(folder) - {"outcome.json"} == {
        ".lock",
        *(".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"),
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt", "checkpoints/previous.ckpt"),
        *("layers.csv", "metrics.csv", "model.pt2", "results.json"),
        *(name for name in files(folder) if name.startswith("tensorboard/")),
    }


def test_results_as_the_schema_says(folder) -> None:
    run = results(folder)
    assert list(run) == KEYS
    assert [run[key] for key in KEYS[1:8]] == [
        *("resnet18_cifar", "sparse_wide", 0.75, "uniform", "rigl", "unstructured", "masked")
    ]
    assert [run[key] for key in KEYS[8:11]] == ["classification", "digits", 0]
    assert run["version"] == 2 and [metric["name"] for metric in run["metrics"]] == ["acc1", "acc5"]
    for part in (run["test"], run["val"]):
        assert set(part) == {"acc1", "acc5", "loss"}
        assert 0 <= part["acc1"] <= part["acc5"] <= 1 and part["loss"] > 0
    training = ["train_total", "train_dense_gradients"]
    assert list(run["flops"]) == ["budget", "forward", "forward_stored", "products", "ratio", *training]
    assert list(run["params"]) == ["stored", "active"]
    assert (run["epochs"], run["steps"]) == (2, STEPS)
    assert 0 < run["seconds"] < 300
    assert torch.__version__.startswith(run["versions"]["torch"])
    assert {"sparseift", "python", "torch", "pytorch-lightning"} <= set(run["versions"])


def test_masks_and_weights_are_those_of_the_plan(folder, rebuilt) -> None:
    net, plan = rebuilt
    state, masks = network_state(folder), saved_masks(folder)
    assert list(masks) == list(plan.masked) and "layer1.0.conv1" not in masks
    zeros = 0
    for name, layer in plan.masked.items():
        weight = state[f"{name}.weight"]
        mask = unpacked(masks[name], tuple(weight.shape))
        assert int(mask.sum()) == layer.active
        assert not weight[~mask].any()
        zeros += layer.numel - layer.active
    stored = sum(parameter.numel() for parameter in net.parameters())
    assert results(folder)["params"] == {"stored": stored, "active": stored - zeros}
    layers = results(folder)["layers"]
    assert {layer["name"]: layer["active"] for layer in layers if layer["active"] < layer["stored"]} == {
        name: int(unpacked(masks[name], tuple(state[f"{name}.weight"].shape)).sum()) for name in masks
    }
    assert sum(layer["flops"] for layer in layers) == results(folder)["flops"]["forward"]


def test_masks_have_moved(folder, trained, rebuilt) -> None:
    """And of those that can't move, every active weight has a value: grown ones may wait for their first gradient."""
    static = trained(*COMMON, "sparsifier=static")
    still, state = saved_masks(static), network_state(static)
    assert all(not torch.equal(bits, still[name]) for name, bits in saved_masks(folder).items())
    for name, layer in rebuilt[1].masked.items():
        assert int((state[f"{name}.weight"] != 0).sum()) == layer.active


def test_hashes(folder, rebuilt) -> None:
    masks, weights = hashlib.sha256(), hashlib.sha256()
    for name, bits in saved_masks(folder).items():
        masks.update(name.encode() + bits.numpy().tobytes())
    for name, value in network_state(folder).items():
        weights.update(f"{name} {tuple(value.shape)} {value.dtype}".encode() + value.numpy().tobytes())
    run = results(folder)
    assert (run["masks_sha256"], run["weights_sha256"]) == (masks.hexdigest(), weights.hexdigest())


def test_training_flops(folder) -> None:
    """3 f_S a sample, and 2 f_S + f_D on the steps that grow by the dense gradient (Evci et al. 2020, appendix H)."""
    flops = results(folder)["flops"]
    sparse, dense = flops["forward"], flops["forward_stored"]
    costs = [2 * sparse + dense if step in UPDATES else 3 * sparse for step in range(1, STEPS + 1)]
    spent = list(accumulate(images * cost for images, cost in zip(2 * BATCHES, costs, strict=True)))
    assert flops["train_total"] == spent[-1]
    grown = sum(images for step, images in enumerate(2 * BATCHES, start=1) if step in UPDATES)
    assert flops["train_dense_gradients"] == (dense - sparse) * grown > 0
    logged = {int(row["step"]): float(row["train/flops"]) for row in metrics(folder) if "train/flops" in row}
    assert logged == {9: spent[9], 19: spent[19]}


def test_metrics_csv(folder) -> None:
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows and all(None not in row and None not in row.values() for row in rows)
    filled = metrics(folder)
    assert all(float(value) == float(value) for row in filled for value in row.values())
    updates = {int(row["step"]): row for row in filled if "masks/replaced" in row}
    assert list(updates) == [step - 1 for step in UPDATES]
    assert all(0 < float(row["masks/replaced"]) <= float(row["masks/drop_fraction"]) < 0.3 for row in updates.values())
    last = {key: float(value) for row in filled for key, value in row.items()}
    run = results(folder)
    assert {f"test/{key}": value for key, value in run["test"].items()} == pytest.approx(
        {key: value for key, value in last.items() if key.startswith("test/")}
    )
    assert last["val/acc1"] == pytest.approx(run["val"]["acc1"])


def test_tensorboard_events(folder) -> None:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert {"train/loss", "val/acc1", "val/loss", "test/acc1", "masks/replaced"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("masks/replaced")] == [step - 1 for step in UPDATES]


def test_checkpoints(folder) -> None:
    last = checkpoint(folder)
    assert last["global_step"] == STEPS
    best = max(range(2), key=lambda epoch: _validation(folder)[epoch])
    assert checkpoint(folder, "best")["global_step"] == 10 * (best + 1)


def test_a_checkpoint_holds_the_active_weights_alone(folder, rebuilt) -> None:
    """And as much of their momenta. Zeros of weights are not negative, which would have to be marked."""
    saved = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    counts = {name: layer.active for name, layer in rebuilt[1].masked.items()}
    assert not any("negative_zeros" in saved["state_dict"][f"net.{name}.weight"] for name in counts)
    assert {name: len(saved["state_dict"][f"net.{name}.weight"]["values"]) for name in counts} == counts
    momenta = [slot["momentum_buffer"] for slot in saved["optimizer_states"][0]["state"].values()]
    masked = [momentum for momentum in momenta if isinstance(momentum, dict)]
    assert {momentum["masked_by"]: len(momentum["values"]) for momentum in masked} == counts


def _validation(folder: Path) -> list[float]:
    return [float(row["val/acc1"]) for row in metrics(folder) if "val/acc1" in row][:2]


def test_loads_in_plain_torch(folder, rebuilt, program, tmp_path) -> None:
    """model.pt2 and what sparseift.export writes, in a process that can't import this package, Lightning or Hydra."""
    net, _ = rebuilt
    net.load_state_dict(network_state(folder))
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.save(images, tmp_path / "images.pt")
    assert program("sparseift.export", [str(folder), "--out", "weights.pt"], tmp_path).code == 0
    script = """
import sys
for name in ("sparseift", "pytorch_lightning", "hydra"):
    sys.modules[name] = None
import torch
images = torch.load("images.pt")
program = torch.export.load(sys.argv[1] + "/model.pt2").module()
state = torch.load("weights.pt", weights_only=True)
torch.save([program(images), program(images[:1]), state], "logits.pt")
"""
    command = [sys.executable, "-c", script, str(folder)]
    subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=""), check=True)
    logits, one, state = torch.load(tmp_path / "logits.pt")
    with torch.no_grad():
        expected = net.eval()(images)
    assert torch.allclose(logits, expected, atol=1e-5) and torch.allclose(one, expected[:1], atol=1e-5)
    assert logits.std() > 0
    assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())


def test_what_is_shown(folder) -> None:
    outcome = json.loads((folder / "outcome.json").read_text())
    out = outcome["out"]
    assert out.count("┏") == 1 and out.count("epoch 1/2 step 10, ") == 1 and out.count("epoch 2/2 step 20, ") == 1
    for part in ("train/loss ", "val/acc1 ", "density 0."):
        assert part in out
    run = results(folder)
    assert f"{100 * run['test']['acc1']:.2f} %" in out
    assert "Traceback" not in outcome["err"]


def test_hydra_folder(folder) -> None:
    overrides = (folder / ".hydra/overrides.yaml").read_text()
    assert "sparsity.level=0.75" in overrides and "recipe.epochs=2" in overrides
