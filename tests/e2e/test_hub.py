"""The folder for Hugging Face's hub: its files, its card, and what sparseift.load reads in it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import sparseift
from sparseift.runs.card import card

from .programs import files, network_state, results, saved_masks, unpacked

FILES = {"README.md", "config.json", "masks.safetensors", "model.safetensors", "plan.json", "results.json"}
AVERAGED = ("callbacks=[ema]", "callbacks.ema.decay=0.8")


@pytest.fixture
def exported(program, tmp_path):
    """Exports a run to the test's folder `hub`."""

    def export(run: Path) -> Path:
        outcome = program("sparseift.export", [str(run), "--format", "hub", "--out", "hub"], tmp_path)
        assert outcome.code == 0 and outcome.err == "", outcome
        assert outcome.out.endswith(" in hub; choose a license in hub/README.md\n")
        return tmp_path / "hub"

    return export


def test_files(trained, exported) -> None:
    run = trained()
    hub = exported(run)
    assert files(hub) == FILES and results(hub) == results(run)
    state, masks = load_file(hub / "model.safetensors"), load_file(hub / "masks.safetensors")
    expected = network_state(run)
    assert state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)
    assert {name: bits.tolist() for name, bits in masks.items()} == {
        name: bits.tolist() for name, bits in saved_masks(run).items()
    }
    plan, recorded = json.loads((hub / "plan.json").read_text()), results(run)
    assert plan["forward"] == recorded["flops"]["forward"]
    assert [layer["active"] for layer in plan["layers"]] == [layer["active"] for layer in recorded["layers"]]
    config = json.loads((hub / "config.json").read_text())
    assert config["weights"] == "last" and "$" not in json.dumps(config)
    assert config["config"]["model"]["num_classes"] == 10 and config["config"]["recipe"]["epochs"] == 1
    assert not {"logger", "resume", "overwrite"} & config["config"].keys() and "root" not in config["config"]["dataset"]


def test_the_card_as_the_library_of_the_hub_reads_it(trained, exported) -> None:
    library = pytest.importorskip("huggingface_hub")
    run = trained()
    recorded = results(run)
    written = library.ModelCard.load(exported(run) / "README.md")
    assert written.data.library_name == "sparseift" and written.data.license is None
    assert {"sparse-ift", "sparse_wide", "rigl"} < set(written.data.tags)
    assert written.data.model_name == "resnet18_cifar sparse_wide 0.75 on digits"
    values = {result.metric_type: result.metric_value for result in written.data.eval_results}
    assert values == {name: round(100 * recorded["test"][name], 2) for name in ("acc1", "acc5")}
    assert {(result.dataset_type, result.task_type) for result in written.data.eval_results} == {
        ("digits", "classification")
    }
    assert f"| {values['acc1']:.2f} % (one run, seed 0) |" in written.text.replace("| test top-1 ", "")
    assert f"{recorded['params']['active']:,} of {recorded['params']['stored']:,} parameters are active" in written.text
    assert "\npython -m sparseift.train dataset=digits " in written.text
    assert "| classes | 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |" in written.text


def test_the_card_names_code_of_the_author_and_cannot_be_broken_by_names(trained) -> None:
    recorded = {**results(trained()), "dataset": "a|b\n# <x>", "partial": "trainer.limit_train_batches=2"}
    text = card(recorded, None, "last", {"mine.nets.Net", "sparseift.members.Dense", "torch.nn.Linear"})
    assert "It needs the Python modules mine, which" in text and "```bash" not in text
    assert r"| data | a\|b\n# &lt;x> |" in text and "\n# <x>" not in text.partition("---\n\n")[2]
    assert "| partial run | trainer.limit_train_batches=2 |" in text


@pytest.mark.parametrize("overrides", [(), AVERAGED, ("member=dense",), ("member=sparse_doped", "pattern=n_of_m")])
def test_what_is_loaded_is_what_the_run_has_tested(trained, exported, overrides: tuple[str, ...]) -> None:
    run = trained(*overrides)
    expected, loaded = sparseift.load(run), sparseift.load(exported(run))
    assert loaded.weights == expected.weights == ("average" if overrides == AVERAGED else "last")
    assert loaded.plan == expected.plan and loaded.preprocessing == expected.preprocessing
    state = loaded.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.network.state_dict().items())
    assert (loaded.masks and loaded.masks.sha256()) == (expected.masks and expected.masks.sha256())
    if overrides == ():
        for name, bits in saved_masks(run).items():
            assert torch.equal(loaded.masks[name], unpacked(bits, loaded.masks[name].shape))


def test_predict_with_a_published_network(program, trained, exported, tmp_path) -> None:
    run = trained()
    exported(run)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "x.png")
    rows = [
        program("sparseift.predict", [folder, "x.png", "--format", "json"], tmp_path).out
        for folder in (str(run), "hub")
    ]
    assert rows[0] == rows[1] and json.loads(rows[1])[0]["input"] == "x.png"


def test_a_language_model(program, tmp_path) -> None:
    """Whose tied weights share memory, and whose tokenizer is a file of the run."""
    arguments = [
        *("dataset=python_text", "tokenizer=bpe", "dataset.vocab_size=300", "dataset.context_length=16", "trainer=cpu"),
        *("sparsity=0.5", "sparsifier=static", "recipe.epochs=1", "export=false", "hydra.run.dir=text"),
        *("+trainer.limit_train_batches=2", "+trainer.limit_val_batches=1", "+trainer.limit_test_batches=1"),
    ]
    assert program("sparseift.train", arguments, tmp_path).code == 0
    outcome = program("sparseift.export", ["text", "--format", "hub"], tmp_path)
    assert outcome.code == 0, outcome
    hub = tmp_path / "text/hub"
    assert files(hub) == FILES | {"tokenizer.json"}
    shutil.move(hub, tmp_path / "moved")
    shutil.rmtree(tmp_path / "data")
    expected, loaded = sparseift.load(tmp_path / "text"), sparseift.load(tmp_path / "moved")
    tokens = loaded.preprocessing("a list of names")
    assert torch.equal(tokens, expected.preprocessing("a list of names"))
    assert torch.equal(loaded.network(tokens), expected.network(tokens))
    assert "perplexity" in (tmp_path / "moved/README.md").read_text()


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("model.safetensors", lambda content: content[:-4], "model.safetensors is damaged: a tensor is not within the"),
        ("model.safetensors", lambda content: content[:-1] + b"\x01", "its weights differ from their hash in"),
        ("config.json", lambda content: content[:-9], "config.json is damaged: "),
        ("config.json", lambda content: content.replace(b'"weights"', b'"wight"'), "damaged: weights is missing"),
        (
            "config.json",
            lambda content: content.replace(b'"last"', b'"first"', 1),
            "expected one of last, best, average",
        ),
        ("masks.safetensors", lambda content: content[:100], "masks.safetensors is damaged"),
        ("masks.safetensors", None, "is masked in only one of"),
        ("results.json", lambda content: content[:50], "results.json is damaged"),
    ],
)
def test_damage(trained, exported, file: str, change, told: str) -> None:
    path = exported(trained()) / file
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(sparseift.UserError, match=told):
        sparseift.load(path.parent)


def test_other_weights_than_the_published_ones(trained, exported) -> None:
    with pytest.raises(sparseift.UserError, match="weights is 'best'; expected last, which are the weights in"):
        sparseift.load(exported(trained()), "best")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--best"], "--best is True; expected no --best with --format hub"),
        (["run", "--out", "run"], "--out is 'run'; expected a new folder"),
        (["run", "--out", "a/b"], "--out is 'a/b'; expected a folder in a folder that exists"),
        (["run/results.json"], "RUN is 'run/results.json'; expected a run folder, which --format hub requires"),
        (["unfinished"], "RUN is 'unfinished', which is unfinished: 1 of 1 epochs trained; expected a finished run"),
    ],
    ids=str,
)
def test_mistakes(program, trained, tmp_path, arguments: list[str], told: str) -> None:
    for name in ("run", "unfinished"):
        shutil.copytree(trained(), tmp_path / name)
    (tmp_path / "unfinished/results.json").unlink()
    before = files(tmp_path)
    assert told in program("sparseift.export", [*arguments, "--format", "hub"], tmp_path).mistake()
    assert files(tmp_path) == before


def test_a_report_leaves_the_published_network_out(program, trained, tmp_path) -> None:
    shutil.copytree(trained(), tmp_path / "run")
    assert program("sparseift.export", ["run", "--format", "hub"], tmp_path).code == 0
    assert "1 run folders: " in program("sparseift.report", ["run"], tmp_path).out
