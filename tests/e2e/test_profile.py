"""python -m sparseift.profile: what it prints, that every choice meets the budget, and that it leaves no file."""

import json
import os
import re
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from sparseift.app.build import build_network
from sparseift.app.overrides import config_folder
from sparseift.app.profile import as_dict

from .programs import environment, files, results

KEYS = ["budget", "forward", "forward_stored", "products", "ratio", "params_stored", "params_active", "kept", "layers"]
LAYER_KEYS = {"name", "shape", "density", "active", "numel", "flops", "masked", "kernels"}
BUDGETS = {
    "resnet18_cifar": 2 * (557_312_000 - 3 * 614_400),  # multiplies counted for the paper, less 3 a norm's element
    "resnet50": 2 * 4_089_184_256,
    "mobilenet_v2": 2 * 300_774_272,
}


@pytest.fixture
def profiled(program, tmp_path):
    def run(*overrides: str) -> dict:
        outcome = program("sparseift.profile", [*overrides, "format=json"], tmp_path)
        assert outcome.code == 0 and outcome.err == "", outcome
        assert files(tmp_path) == set()
        return json.loads(outcome.out)

    return run


@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
@pytest.mark.parametrize("model", BUDGETS)
def test_every_choice_costs_the_budget(model: str, member: str) -> None:
    """At the highest sparsity; tests/sparsity counts at others."""
    dataset = "cifar100" if model == "resnet18_cifar" else "imagenet"
    for distribution in ("uniform", "erk"):
        overrides = [f"model={model}", f"dataset={dataset}", f"member={member}", f"sparsity={distribution}"]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("profile", [*overrides, "sparsity.level=0.9"])
        plan = as_dict(build_network(config, on_meta=True)[1])
        assert plan["budget"] == BUDGETS[model]
        assert plan["forward"] == sum(layer["flops"] for layer in plan["layers"])
        assert abs(plan["forward"] / BUDGETS[model] - 1) < 1e-3
        assert any(layer["masked"] for layer in plan["layers"])


def test_json_and_nothing_else(profiled) -> None:
    plan = profiled("member=sparse_factorized", "sparsity=0.75", "model=resnet50", "dataset=imagenet")
    assert list(plan) == KEYS
    assert all(set(layer) == LAYER_KEYS for layer in plan["layers"])
    assert plan["ratio"] == plan["forward"] / plan["budget"]
    for layer in plan["layers"]:
        numel = 1
        for size in layer["shape"]:
            numel *= size
        assert layer["numel"] == numel
        assert layer["density"] == layer["active"] / numel
        assert layer["masked"] or layer["active"] == numel
    masked = sum(layer["numel"] - layer["active"] for layer in plan["layers"])
    assert plan["params_active"] == plan["params_stored"] - masked
    stored = sum(layer["flops"] * layer["numel"] / layer["active"] for layer in plan["layers"])
    assert plan["forward_stored"] == pytest.approx(stored)


def test_plain_sparse_training_is_below_the_budget(profiled) -> None:
    plan = profiled("member=dense", "sparsifier=rigl", "sparsity=0.9")
    assert plan["budget"] == plan["forward_stored"] == BUDGETS["resnet18_cifar"]
    assert 0.1 < plan["ratio"] < 0.11
    masked = [layer for layer in plan["layers"] if layer["masked"]]
    numel, active = (sum(layer[key] for layer in masked) for key in ("numel", "active"))
    assert active == pytest.approx(0.1 * numel, abs=len(masked))
    assert not profiled("member=dense")["layers"][5]["masked"]


def test_the_run_itself_costs_what_was_told(profiled, trained) -> None:
    run = results(trained("sparsity=0.9"))
    plan = profiled("sparsity=0.9", "dataset=digits", "model.base_width=4")
    assert {key: run["flops"][key] for key in KEYS[:4]} == {key: plan[key] for key in KEYS[:4]}
    assert run["params"] == {"stored": plan["params_stored"], "active": plan["params_active"]}


def test_globs_add_and_remove_layers(profiled) -> None:
    globs = ["sparsity=0.5", "sparsity.include=[conv1,fc]", "sparsity.exclude=['layer1.*']"]
    masked = {layer["name"]: layer["masked"] for layer in profiled(*globs)["layers"]}
    assert masked["conv1"] and masked["fc"] and masked["layer2.0.conv1"]
    assert not any(is_masked for name, is_masked in masked.items() if name.startswith("layer1."))


def test_table(program, tmp_path) -> None:
    outcome = program("sparseift.profile", ["dataset=digits"], tmp_path)
    assert outcome.code == 0 and outcome.err == "" and files(tmp_path) == set()
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 120
    [layer] = [re.findall(r"[^│\s]+", line) for line in lines if "layer4.1.conv2" in line]
    assert layer[1:3] == ["1024x1024x3x3", "masked"]
    [budget] = [line for line in lines if "budget: the dense network" in line]
    assert re.search(r" \d\d,\d{3},\d{3} ", budget)
    assert "ratio to the budget 1.000000" in outcome.out


def test_a_sweep_writes_no_file_either(program, tmp_path) -> None:
    outcome = program("sparseift.profile", ["-m", "dataset=digits", "sparsity=0.5,0.75", "format=json"], tmp_path)
    assert outcome.code == 0, outcome
    decoder, text, plans = json.JSONDecoder(), outcome.out.strip(), []
    while text:
        plan, end = decoder.raw_decode(text)
        plans.append(plan)
        text = text[end:].strip()
    assert len(plans) == 2 and plans[0]["params_stored"] < plans[1]["params_stored"]
    assert files(tmp_path) == set()


@pytest.mark.parametrize("page", ["format=json", "--help"])
def test_a_reader_that_has_had_enough_is_no_mistake(page: str, tmp_path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "sparseift.profile", "model.base_width=4", page]
    profile = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(), text=True)
    os.close(write)
    assert (profile.returncode, profile.stderr) == (0, "")


def test_it_says_what_computes_each_layer(profiled) -> None:
    small = ("dataset=digits", "model.base_width=4")
    layers = profiled(*small, "backend=sparse")["layers"]
    assert {layer["kernels"] for layer in layers if layer["masked"]} == {"sparse"}
    assert {layer["kernels"] for layer in layers if not layer["masked"]} == {"dense"}
    assert {layer["kernels"] for layer in profiled(*small)["layers"]} == {"masked", "dense"}
    assert {layer["kernels"] for layer in profiled(*small, "backend=auto")["layers"]} == {"auto", "dense"}
