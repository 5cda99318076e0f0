"""sparseift.export --format sparse: a file that predicts as the run does, without Lightning and Hydra."""

import csv
import json
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import sparseift

from .programs import checkpoint, environment, files, results

RUN = ("recipe.epochs=2", "sparsity=0.75", "sparsifier.update_interval=4")
AVERAGED = ("callbacks=[ema]", "callbacks.ema.decay=0.8")
EXPORT = ["run", "--format", "sparse", "--out", "net.safetensors"]


@pytest.fixture
def run(trained, tmp_path) -> Path:
    shutil.copytree(trained(*RUN), tmp_path / "run")
    pixels = (load_digits().images[7] * 255 / 16).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    return tmp_path / "run"


def test_it_loads_without_lightning_and_hydra(program, run, tmp_path) -> None:
    outcome = program("sparseift.export", EXPORT, tmp_path)
    active = sum(layer["active"] for layer in results(run)["layers"] if layer["active"] != layer["stored"])
    assert outcome.code == 0 and outcome.out.startswith(f"{active:,} of "), outcome
    assert outcome.out.endswith(" masked weights of run/checkpoints/last.ckpt in net.safetensors\n")
    script = """
import sys
for name in ("pytorch_lightning", "lightning", "hydra", "omegaconf", "sklearn", "safetensors", "scipy"):
    sys.modules[name] = None
import torch, sparseift
loaded = sparseift.load("net.safetensors")
scores = loaded.network(loaded.preprocessing("digit.png"))
torch.save([scores, loaded.network.tensors(), loaded.preprocessing.name(3)], "found.pt")
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(), check=True)
    scores, tensors, name = torch.load(tmp_path / "found.pt")
    loaded = sparseift.load(run)
    with torch.no_grad():
        expected = loaded.network(loaded.preprocessing(tmp_path / "digit.png"))
    assert torch.allclose(scores, expected, rtol=1e-4, atol=1e-5) and name == "3"
    state = loaded.network.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in tensors.items())
    assert state.keys() - tensors.keys() == {key for key in state if key.endswith("num_batches_tracked")}


def test_predict_and_evaluate(program, run, tmp_path) -> None:
    assert program("sparseift.export", ["run", "--format", "sparse"], tmp_path).code == 0
    file = "run/sparse.safetensors"
    shown = [
        list(
            csv.DictReader(StringIO(program("sparseift.predict", [what, "digit.png", "--format", "csv"], tmp_path).out))
        )
        for what in ("run", file)
    ]
    assert len(shown[0]) == 5
    for ours, theirs in zip(*shown, strict=True):
        assert ours["class"] == theirs["class"]
        assert float(ours["probability"]) == pytest.approx(float(theirs["probability"]), abs=1e-5)
    outcome = program("sparseift.evaluate", [file, "dataset=digits", "trainer=cpu"], tmp_path)
    assert outcome.code == 0 and outcome.out.endswith("metrics in run/sparse_digits.json\n"), outcome
    written, recorded = json.loads((run / "sparse_digits.json").read_text()), results(run)
    assert written["test"] == pytest.approx(recorded["test"], rel=1e-4)
    assert written["masks_sha256"] == recorded["masks_sha256"] and written["file"] == file
    assert (written["checkpoint"], written["weights"], written["dataset"]) == ("last.ckpt", "last", "digits")


def test_averaged_weights(program, trained, tmp_path) -> None:
    folder = trained(*AVERAGED)
    arguments = [str(folder), "--format", "sparse", "--out", "net.safetensors"]
    assert program("sparseift.export", arguments, tmp_path).code == 0
    loaded, average = sparseift.load(tmp_path / "net.safetensors"), checkpoint(folder)["state_dict"]
    assert loaded.about["weights"] == "average"
    assert all(torch.equal(tensor, average[f"net.{name}"]) for name, tensor in loaded.network.tensors().items())


@pytest.mark.parametrize("member", ["dense", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_every_member(program, trained, tmp_path, member: str) -> None:
    folder = trained(f"member={member}")
    assert program("sparseift.export", [str(folder), *EXPORT[1:]], tmp_path).code == 0
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = sparseift.load(folder).network(x)
    found = sparseift.load(tmp_path / "net.safetensors").network(x)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("verb", "arguments", "told"),
    [
        ("export", ["run/checkpoints/last.ckpt", *EXPORT[1:]], "expected a run folder, which --format sparse requires"),
        (
            "export",
            [*EXPORT[:3], "--out", "net.pt"],
            "--out is 'net.pt'; expected a file name that ends in .safetensors",
        ),
        ("export", [*EXPORT[:3], "--out", "no/n.safetensors"], "expected a file in a folder that exists"),
        ("evaluate", ["net.safetensors"], "OVERRIDE is ''; expected dataset=NAME, because a file of a run has no data"),
        (
            "evaluate",
            ["net.safetensors", "dataset=fashion_mnist"],
            "dataset.image_size is 28; expected 8, as in the run",
        ),
        ("evaluate", ["net.safetensors", "dataset=python_text"], "expected a data set with the option num_classes"),
        ("evaluate", ["net.safetensors", "dataset=digits", "--weights", "last"], "weights is 'last'; expected none"),
        ("predict", ["net.safetensors", "digit.png", "--tokens", "5"], "--tokens is 5; expected no value"),
        (
            "predict",
            ["half.safetensors", "digit.png"],
            "half.safetensors is damaged, or not a file of sparseift.export",
        ),
        (
            "predict",
            ["run/results.json", "digit.png"],
            "run/results.json is damaged, or not a file of sparseift.export",
        ),
    ],
    ids=str,
)
def test_mistakes(program, run, tmp_path, verb: str, arguments: list[str], told: str) -> None:
    if "net.safetensors" in arguments[0] or "half" in arguments[0]:
        assert program("sparseift.export", EXPORT, tmp_path).code == 0
        content = (tmp_path / "net.safetensors").read_bytes()
        (tmp_path / "half.safetensors").write_bytes(content[: len(content) // 2])
    before = files(tmp_path)
    assert told in program(f"sparseift.{verb}", arguments, tmp_path).mistake()
    assert files(tmp_path) == before


def test_text(program, trained, tmp_path) -> None:
    """The tokenizer is in the file."""
    text = (
        *("dataset=python_text", "tokenizer=bpe", "dataset.vocab_size=300", "dataset.context_length=16", "trainer=cpu"),
        *("sparsity=0.5", "sparsifier=static", "recipe.epochs=1", "export=false", "hydra.run.dir=run"),
        *("+trainer.limit_train_batches=3", "+trainer.limit_val_batches=1", "+trainer.limit_test_batches=2"),
    )
    assert program("sparseift.train", text, tmp_path).code == 0
    assert program("sparseift.export", EXPORT, tmp_path).code == 0
    asked = ["a list of", "--tokens", "4", "--temperature", "0", "--format", "json"]
    both = [
        json.loads(program("sparseift.predict", [what, *asked], tmp_path).out) for what in ("run", "net.safetensors")
    ]
    assert both[0] == both[1] and both[0][0]["continuation"]
