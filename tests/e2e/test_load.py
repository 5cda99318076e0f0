"""sparseift.load, evaluate and predict on finished runs, against results.json, the checkpoint and torch."""

import csv
import json
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import sparseift
from sparseift.training.export import weights_sha256

from .programs import checkpoint, files, results, saved_masks, unpacked

RUN = ("recipe.epochs=2", "sparsity=0.75", "sparsifier.update_interval=4")
AVERAGED = ("callbacks=[ema]", "callbacks.ema.decay=0.8")
TEXT = (
    *("dataset=python_text", "tokenizer=bpe", "dataset.vocab_size=300", "dataset.context_length=16", "trainer=cpu"),
    *("sparsity=0.5", "sparsifier=static", "recipe.epochs=1", "export=false", "hydra.run.dir=text"),
    *("+trainer.limit_train_batches=3", "+trainer.limit_val_batches=1", "+trainer.limit_test_batches=2"),
)


@pytest.fixture
def run(trained, tmp_path) -> Path:
    shutil.copytree(trained(*RUN), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def digit(tmp_path) -> Path:
    """The file of an image of the data set."""
    pixels = (load_digits().images[7] * 255 / 16).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


def test_what_is_loaded_is_what_was_trained(run) -> None:
    loaded, recorded = sparseift.load(run), results(run)
    assert weights_sha256(loaded.network) == recorded["weights_sha256"]
    assert loaded.masks.sha256() == recorded["masks_sha256"]
    for name, bits in saved_masks(run).items():
        mask = unpacked(bits, loaded.masks[name].shape)
        assert torch.equal(loaded.masks[name], mask)
        assert not loaded.network.get_submodule(name).weight[~mask].any()
    assert loaded.plan.forward == recorded["flops"]["forward"] and not loaded.network.training
    layers = {layer["name"]: layer["active"] for layer in recorded["layers"]}
    assert {layer.name: layer.active for layer in loaded.plan.layers} == layers


def test_the_input_of_an_image(run, digit) -> None:
    loaded = sparseift.load(str(run))
    pixels = torch.from_numpy(np.array(Image.open(digit))).double()
    expected = (pixels / 255 - 0.3058) / 0.3759
    assert torch.allclose(loaded.preprocessing(digit)[0, 0].double(), expected, atol=1e-6)
    assert loaded.preprocessing(torch.zeros(1, 30, 20, dtype=torch.uint8)).shape == (1, 1, 8, 8)
    assert loaded.preprocessing.classes == tuple("0123456789")
    with pytest.raises(sparseift.UserError, match=r"image is 'torch.float32 of shape \(8, 8\)'; expected torch.uint8"):
        loaded.preprocessing(torch.zeros(8, 8))


@pytest.mark.parametrize("member", ["dense", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_every_member(trained, member: str) -> None:
    folder = trained(f"member={member}")
    loaded = sparseift.load(folder)
    assert weights_sha256(loaded.network) == results(folder)["weights_sha256"]
    assert (loaded.masks is None) == (member == "dense")


def test_averaged_weights_and_those_themselves(trained) -> None:
    folder = trained(*AVERAGED)
    saved = checkpoint(folder)
    for weights, key in ("last", "current_model_state"), ("average", "state_dict"):
        state = sparseift.load(folder, weights).network.state_dict()
        assert all(torch.equal(value, saved[key][f"net.{name}"]) for name, value in state.items())
    assert weights_sha256(sparseift.load(folder).network) == results(folder)["weights_sha256"]  # the average
    assert sparseift.load(folder).weights == "average"


def test_weights_that_are_not_zero_outside_the_masks(run) -> None:
    path = run / "checkpoints/last.ckpt"
    saved = checkpoint(run)
    name, bits = next(iter(saved_masks(run).items()))
    weight = saved["state_dict"][f"net.{name}.weight"]
    weight[~unpacked(bits, weight.shape)] = 1.0
    torch.save(saved, path)
    with pytest.raises(sparseift.UserError, match=f"masked weights of {name} are not zero in"):
        sparseift.load(run)


def test_evaluate_repeats_the_test_of_the_run(program, run, tmp_path) -> None:
    outcome = program("sparseift.evaluate", ["run"], tmp_path)
    assert outcome.code == 0 and outcome.err == "", outcome
    written = json.loads((run / "evaluation_digits_last.json").read_text())
    assert written["test"] == results(run)["test"] and written["masks_sha256"] == results(run)["masks_sha256"]
    assert outcome.out.endswith("metrics in run/evaluation_digits_last.json\n")


def test_evaluate_other_weights_on_other_data(program, run, tmp_path) -> None:
    """The images keep the mean and deviation of the run."""
    other = ["dataset=synthetic", "dataset.channels=1", "dataset.image_size=8", "dataset.test_images=40"]
    outcome = program("sparseift.evaluate", ["run", *other, "--weights", "best", "--out", "e.json"], tmp_path)
    assert outcome.code == 0, outcome
    written = json.loads((tmp_path / "e.json").read_text())
    assert (written["dataset"], written["weights"], written["checkpoint"]) == ("synthetic", "best", "best.ckpt")
    from sparseift.data.images.synthetic import Synthetic

    options = {"train_images": 512, "test_images": 40, "batch_size": 32, "val_size": 64, "num_workers": 0, "seed": 0}
    shape = {"num_classes": 10, "channels": 1, "image_size": 8, "mean": [0.0], "std": [1.0], "split_seed": 0}
    images, targets = Synthetic(**options, **shape, crop_padding=0, flip=False, cutout=0).tensors(train=False)
    with torch.no_grad():
        scores = sparseift.load(run, "best").network((images / 255 - 0.3058) / 0.3759)
    assert written["test"]["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(scores, targets)), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "dataset=python_text"], "PythonText'; expected a data set with the option num_classes"),
        (["nowhere"], "RUN is 'nowhere'; expected a run folder"),
        (["run", "model=resnet50"], "OVERRIDE is 'model=resnet50'; expected one value of dataset, trainer, tokenizer"),
        (["run", "dataset.batch_size=1,2"], "OVERRIDE is 'dataset.batch_size=1,2'; expected one value of"),
        (["run", "best"], "OVERRIDE is 'best'; expected NAME=VALUE"),
        (["run", "dataset=zzz"], "dataset is 'zzz'; expected one of cifar10"),
        (["run", "dataset.zzz=1"], "there is no option 'dataset.zzz'"),
        (["run", "dataset=fashion_mnist"], "dataset.image_size is 28; expected 8, as in the run"),
        (["run", "trainer.devices=2"], "trainer.devices is 2; expected an integer from 1 to 1"),
        (["run", "--weights", "average"], "run/checkpoints/last.ckpt has no average of weights (callbacks=[ema])"),
        (["run", "--weights", "first"], "invalid choice: 'first'"),
        (["run", "--out", "nowhere/e.json"], "--out is 'nowhere/e.json'; expected a file in a folder that exists"),
    ],
    ids=str,
)
def test_mistakes_of_evaluate(program, run, tmp_path, arguments: list[str], told: str) -> None:
    before = files(tmp_path)
    assert told in program("sparseift.evaluate", arguments, tmp_path).mistake()
    assert files(tmp_path) == before


def test_predict_an_image(program, run, digit, tmp_path) -> None:
    loaded = sparseift.load(run)
    with torch.no_grad():
        expected = torch.softmax(loaded.network(loaded.preprocessing(digit))[0], 0)
    outcome = program("sparseift.predict", ["run", "digit.png", "--format", "json", "--top", "10"], tmp_path)
    rows = json.loads(outcome.out)
    assert [row["input"] for row in rows] == ["digit.png"] * 10
    assert {int(row["class"]): row["probability"] for row in rows} == pytest.approx(
        dict(enumerate(expected.tolist())), abs=1e-6
    )
    probabilities = [row["probability"] for row in rows]
    assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) == pytest.approx(1)

    table = program("sparseift.predict", ["run", "digit.png", "digit.png", "--top", "1", "--format", "csv"], tmp_path)
    shown = list(csv.DictReader(StringIO(table.out)))
    assert [(row["class"], float(row["probability"])) for row in shown] == [(rows[0]["class"], probabilities[0])] * 2
    assert f"{probabilities[0]:.4f}" in program("sparseift.predict", ["run", "digit.png"], tmp_path).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run"], "the following arguments are required: INPUT"),
        (["nowhere", "digit.png"], "RUN is 'nowhere'; expected a run folder"),
        (["run", "nothing.png"], "nothing.png can't be read as an image: No such file"),
        (["run", "run/results.json"], "run/results.json can't be read as an image: cannot identify image file"),
        (["run", "digit.png", "--top", "0"], "--top is 0; expected a number >= 1"),
        (["run", "digit.png", "--tokens", "5"], "--tokens is 5; expected no value, because the task Classification"),
        (["run", "digit.png", "--device", "moon"], "--device is 'moon', which torch cannot use: "),
    ],
    ids=str,
)
def test_mistakes_of_predict(program, run, digit, tmp_path, arguments: list[str], told: str) -> None:
    assert told in program("sparseift.predict", arguments, tmp_path).mistake()


def test_text(program, tmp_path) -> None:
    """The tokens of a run are those of its trained tokenizer, also for other text."""
    assert program("sparseift.train", TEXT, tmp_path).code == 0
    loaded = sparseift.load(tmp_path / "text")
    words = "a list of names"
    tokens = loaded.preprocessing(words)
    assert tokens.dtype == torch.int64 and loaded.preprocessing.encoder.decode(tokens[0].tolist()) == words
    arguments = ["text", words, "--tokens", "3", "--temperature", "0", "--format", "json"]
    [row] = json.loads(program("sparseift.predict", arguments, tmp_path).out)
    sequence = tokens
    for _ in range(3):
        with torch.no_grad():
            sequence = torch.cat([sequence, loaded.network(sequence[:, -16:])[:, -1:].argmax(-1)], 1)
    assert row == {"input": words, "continuation": loaded.preprocessing.encoder.decode(sequence[0, -3:].tolist())}

    (tmp_path / "other.txt").write_text("\n\n".join(f"{words} and the values {index}" for index in range(400)))
    other = ["dataset=text", "dataset.files=other.txt", "dataset.separator='\\n\\n'", "dataset.context_length=16"]
    outcome = program("sparseift.evaluate", ["text", *other, "dataset.test_fraction=0.5", "--out", "o.json"], tmp_path)
    assert outcome.code == 0, outcome
    assert json.loads((tmp_path / "o.json").read_text())["test"]["perplexity"] > 1
    assert (tmp_path / "text/tokenizer.json").exists()
    assert not list((tmp_path / "data/tokens").glob("Text-*/tokenizer.json"))  # none was trained on the other text
