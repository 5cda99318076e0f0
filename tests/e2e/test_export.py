"""sparseift.export: the weights of a run as a plain state dict, against results.json and what the checkpoint holds."""

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sparseift

from .programs import checkpoint, files, results

RUN = ("recipe.epochs=2", "sparsity=0.75", "sparsifier.update_interval=4")


@pytest.fixture
def run(trained, tmp_path) -> Path:
    shutil.copytree(trained(*RUN), tmp_path / "run")
    return tmp_path / "run"


def sha256(state: dict[str, torch.Tensor]) -> str:
    """As results.json has it."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode() + value.numpy().tobytes())
    return digest.hexdigest()


def test_a_state_dict_with_the_bits_of_the_run(program, run, tmp_path) -> None:
    outcome = program("sparseift.export", ["run"], tmp_path)
    assert outcome.code == 0 and outcome.out.endswith(" of run/checkpoints/last.ckpt in run/weights.pt\n"), outcome
    assert sha256(torch.load(run / "weights.pt", weights_only=True)) == results(run)["weights_sha256"]


def test_safetensors(program, run, tmp_path) -> None:
    before = files(run)
    assert program("sparseift.export", ["run/checkpoints/last.ckpt", "--out", "w.safetensors"], tmp_path).code == 0
    state = load_file(tmp_path / "w.safetensors")
    saved = checkpoint(run)["state_dict"]
    assert sha256({name: state[name] for name in _of_network(saved)}) == results(run)["weights_sha256"]
    assert files(run) == before and {path.name for path in tmp_path.iterdir()} == {"run", "w.safetensors"}


def test_the_suffix_of_a_format(program, run, tmp_path) -> None:
    outcome = program("sparseift.export", ["run", "--format", "safetensors"], tmp_path)
    assert outcome.code == 0 and outcome.out.endswith(" in run/weights.safetensors\n"), outcome
    assert load_file(run / "weights.safetensors").keys() == _of_network(checkpoint(run)["state_dict"]).keys()


@pytest.mark.parametrize("best", [False, True])
def test_programs_compute_what_the_network_does(program, run, tmp_path, best: bool) -> None:
    """For another batch size than that of the export."""
    batch = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        expected = sparseift.load(run, "best" if best else "last").network(batch)
    options = ["--best"] if best else []
    assert program("sparseift.export", ["run", "--out", "net.pt2", *options], tmp_path).code == 0
    assert torch.allclose(torch.export.load(tmp_path / "net.pt2").module()(batch), expected, atol=1e-5)
    outcome = program("sparseift.export", ["run", "--format", "onnx", "--out", "net.onnx", *options], tmp_path)
    if not find_spec("onnxscript"):
        assert outcome.mistake() == "--format onnx needs onnxscript, which is not installed: pip install onnxscript"
        return
    assert outcome.code == 0, outcome
    session = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "net.onnx")
    [outputs] = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
    assert torch.allclose(torch.from_numpy(outputs), expected, atol=1e-5)


def test_the_best_weights(program, run, tmp_path) -> None:
    assert program("sparseift.export", ["run", "--best", "--out", "best.pt"], tmp_path).code == 0
    state, saved = torch.load(tmp_path / "best.pt", weights_only=True), checkpoint(run, "best")["state_dict"]
    assert list(state) == list(_of_network(saved))
    assert all(torch.equal(state[name], saved[f"net.{name}"]) for name in state)


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(program, run, tmp_path) -> None:
    last = run / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    outcome = program("sparseift.export", ["run"], tmp_path)
    assert outcome.code == 0 and "last.ckpt is damaged" in outcome.err
    assert (run / "weights.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: RUN; see --help"),
        (["nowhere"], "no checkpoint at nowhere; expected a .ckpt file or a run folder"),
        (
            ["run/checkpoints/last.ckpt", "--best"],
            "RUN is 'run/checkpoints/last.ckpt'; expected a run folder, which --best requires",
        ),
        (["run/results.json"], "run/results.json is damaged"),
        (["other.ckpt"], "other.ckpt holds no network of sparseift.train"),
        (
            ["run", "--out", "weights.bin"],
            "--out is 'weights.bin'; expected a file name that ends in .pt or .safetensors or .pt2 or .onnx",
        ),
        (
            ["run", "--format", "pt2", "--out", "weights.pt"],
            "--out is 'weights.pt'; expected a file name that ends in .pt2",
        ),
        (
            ["run/checkpoints/last.ckpt", "--format", "pt2"],
            "RUN is 'run/checkpoints/last.ckpt'; expected a run folder, which --format pt2 requires",
        ),
        (
            ["run", "--out", "nowhere/weights.pt"],
            "--out is 'nowhere/weights.pt'; expected a file in a folder that exists",
        ),
        (
            ["run", "--out", "nowhere/w.safetensors"],
            "--out is 'nowhere/w.safetensors'; expected a file in a folder that exists",
        ),
    ],
    ids=str,
)
def test_mistakes(program, run, tmp_path, arguments: list[str], told: str) -> None:
    torch.save({"model": torch.ones(3)}, tmp_path / "other.ckpt")
    before = files(tmp_path)
    outcome = program("sparseift.export", arguments, tmp_path)
    assert told in outcome.mistake()
    assert files(tmp_path) == before


def _of_network(saved: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("net."): value for name, value in saved.items() if name.startswith("net.")}
