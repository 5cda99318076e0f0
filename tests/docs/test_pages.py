"""README.md and the pages are correct: every command and code block runs, every table and name is checked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

from sparseift.common.console import si

from ..e2e.programs import QUICK, Outcome, Zygote, environment, files, metrics, quick, results
from .pages import BLOCKS, COMMANDS, EVERY_PAGE, FENCE, ROOT, inline_code, table, write_files

PROJECT = (ROOT / "pyproject.toml").read_text()
FEW_BATCHES = ("+trainer.limit_train_batches=2", "+trainer.limit_val_batches=1", "+trainer.limit_test_batches=1")
OF_OWN_NETWORK = ("trainer=cpu", "recipe.epochs=2", "export=false")
ALONE = ("profile", "report", "compare", "export", "evaluate", "predict")
"""Programs that are fast enough to run unchanged."""

LONG = re.compile(
    r"(dataset|model|trainer)(\.(?!precision|gradient_clip_val)\w+)?=|recipe\.epochs=|seed=|sparsifier\.update_interval="
)
"""Arguments of a command that the test replaces: everything slow, and data and devices."""

BRIEF = {"callbacks.ema.decay": "0.1"}
"""Values for runs of two steps."""


@pytest.fixture(scope="module")
def finished(program, tmp_path_factory) -> Path:
    """A folder with the runs of scripts/quickstart, with a smaller network."""
    folder = tmp_path_factory.mktemp("finished")
    for member in ("dense", "sparse_wide"):
        exported = f"export={str(member == 'sparse_wide').lower()}"  # the run whose export is tested
        arguments = quick(f"member={member}", f"hydra.run.dir=runs/quickstart/{member}", exported)
        succeeded(program("sparseift.train", arguments, folder))
    Image.new("L", (8, 8)).save(folder / "digit.png")
    for name in ("scans/train", "scans/test"):
        for digit in range(10):
            (folder / name / str(digit)).mkdir(parents=True)
            Image.new("L", (10, 9), digit).save(folder / name / str(digit) / "1.png")
    write_files(folder)
    return folder


@pytest.fixture(scope="module")
def finished_text(program, tmp_path_factory) -> Path:
    """A folder with the sparse run of scripts/quickstart_text, much shorter."""
    folder = tmp_path_factory.mktemp("finished_text")
    short = ["trainer.max_steps=2", "dataset.context_length=16", *FEW_BATCHES[1:]]
    settings = ["dataset=python_text", "trainer=cpu", "sparsity=0.5", "sparsifier=static", *short]
    run = "hydra.run.dir=runs/quickstart_text/sparse_wide"
    succeeded(program("sparseift.train", [*settings, run], folder))
    return folder


def succeeded(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome
    return outcome


def python(*arguments: str, cwd: Path) -> Outcome:
    """Run Python as a subprocess that finds modules in `cwd`, as a user would."""
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment(), capture_output=True, text=True)
    return succeeded(Outcome(done.returncode, done.stdout, done.stderr))


def chosen_wheel(folder: Path) -> str:
    """The wheel that pip takes of two of the same version, one of them from an additional index of CPU wheels."""
    for index, version in (("default", "2.9.0"), ("cpu", "2.9.0+cpu")):
        wheel = folder / index / "torch" / f"torch-{version}-py3-none-any.whl"
        wheel.parent.mkdir(parents=True)
        with zipfile.ZipFile(wheel, "w") as archive:
            metadata = f"torch-{version}.dist-info"
            archive.writestr(f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
            archive.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{metadata}/RECORD", "")
        wheel.with_name("index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    settings = {name: value for name, value in environment().items() if not name.startswith("PIP_")}
    indices = {name: (folder / index).as_uri() for name, index in (("INDEX", "default"), ("EXTRA_INDEX", "cpu"))}
    settings |= {f"PIP_{name}_URL": address for name, address in indices.items()} | {"PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder / "chosen", "torch"]
    subprocess.run(command, env=settings, check=True)
    (chosen,) = (folder / "chosen").iterdir()
    return chosen.name


def shortened(arguments: list[str]) -> list[str]:
    kept = [argument for argument in arguments if not LONG.match(argument)]
    brief = [
        f"{key}={BRIEF.get(key, value)}" if sign else key for key, sign, value in (one.partition("=") for one in kept)
    ]
    warmup = ["recipe.warmup_epochs=0"] if {"recipe=deit", "recipe=convnext"} & set(arguments) else []
    return [*quick(*brief, *warmup), *FEW_BATCHES]


def write_photos(folder: Path) -> None:
    """The image files that the page on data sets lists, and one more of each."""
    (listed,) = [
        block.code.split() for block in BLOCKS if block.page.name == "datasets.md" and block.language == "text"
    ]
    assert len(listed) == 6
    for path in map(folder.joinpath, listed):
        path.parent.mkdir(parents=True)
        for name in (path.name, f"more_{path.name}"):
            Image.new("RGB", (40, 50)).save(path.with_name(name))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command(words, program, finished, finished_text, tmp_path):
    match words:
        case [("scripts/quickstart" | "scripts/quickstart_text" | "scripts/test") as script]:
            assert os.access(ROOT / script, os.X_OK)
            subprocess.run(["bash", "-n", ROOT / script], check=True)
        case ["pip", "install", source]:
            extras = set(re.findall(r"[\w-]+", source.removeprefix(".")))
            optional = re.search(r"^\[project.optional-dependencies\]\n(.*?)^\[", PROJECT, re.MULTILINE | re.DOTALL)[1]
            assert source.startswith(".") and extras <= set(re.findall(r"^(\w+) = ", optional, re.MULTILINE))
        case ["export", "PIP_EXTRA_INDEX_URL=ADDRESS"]:
            assert chosen_wheel(tmp_path) == "torch-2.9.0+cpu-py3-none-any.whl"
        case ["scripts/bench", *rows, "--clock", "cpu"]:
            help_page = python(ROOT / "scripts" / "bench", *words[1:], "--help", cwd=tmp_path).out
            listed = help_page.partition("benchmarks:")[2]
            assert rows and all(re.search(rf"^  {row} ", listed, re.MULTILINE) for row in rows)
        case ["sparseift", "--help" | "--version"]:
            assert succeeded(program("sparseift", words[1:], tmp_path)).out
        case ["eval", "$(sparseift -sc install=bash)"]:
            assert "complete" in succeeded(program("sparseift", ["-sc", "install=bash"], tmp_path)).out
        case ["python", "-m", "sparseift.train", "--config-dir", "my_conf", *arguments]:
            write_files(tmp_path)
            without_base_width = {"dataset=diabetes", "dataset=shapes", "model=small_cnn"}
            own_network = without_base_width & set(arguments)
            overrides = [*(OF_OWN_NETWORK if own_network else QUICK), *arguments, "sparsifier.update_interval=2"]
            succeeded(program("sparseift.train", ["--config-dir", "my_conf", *overrides], tmp_path))
            (run,) = (tmp_path / "runs").iterdir()
            rounded = 0.05 if "pattern=rows" in arguments else 1e-3  # the tolerance in its config
            assert results(run)["flops"]["ratio"] == pytest.approx(1, abs=rounded)
            assert max(float(row.get("masks/replaced", 0)) for row in metrics(run)) > 0
        case ["python", "-m", "sparseift.train", *arguments] if {"dataset=python", "dataset=image_folder"} & set(words):
            write_photos(tmp_path)
            write_files(tmp_path)
            own_network = not {"dataset=python", "model=resnet18_cifar"} & set(words)  # a large one, of torchvision
            small = ["member=dense", "dataset.image_size=32"] if own_network else ["model.base_width=4"]
            short = ["trainer=cpu", "recipe.epochs=1", "sparsifier=static", "export=false", "dataset.batch_size=2"]
            succeeded(program("sparseift.train", [*arguments, *short, *small], tmp_path))
        case ["python", "-m", "sparseift.train", *arguments] if "".join(words[3:4]).startswith("model._target_="):
            write_files(tmp_path)
            succeeded(
                program("sparseift.train", [*OF_OWN_NETWORK, *arguments, "sparsifier.update_interval=2"], tmp_path)
            )
            (run,) = (tmp_path / "runs").iterdir()
            assert results(run)["flops"]["ratio"] == pytest.approx(1, abs=1e-3)
        case ["python", "-m", "sparseift.train", "-m", "hydra/sweeper=optuna", *arguments]:
            pytest.importorskip("optuna")
            trials = [argument for argument in arguments if not argument.startswith("hydra.sweeper.n_trials")]
            searched = ["-m", "hydra/sweeper=optuna", *shortened(trials), "hydra.sweeper.n_trials=2"]
            succeeded(program("sparseift.train", searched, tmp_path))
            (sweep,) = (tmp_path / "multirun").iterdir()
            assert "best_value" in (sweep / "optimization_results.yaml").read_text()
        case ["python", "-m", "sparseift.train", "-m", *arguments]:
            succeeded(program("sparseift.train", ["-m", *shortened(arguments)], tmp_path))
            (sweep,) = (tmp_path / "multirun").iterdir()
            jobs = [path for path in sweep.iterdir() if path.is_dir()]
            assert len(jobs) > 1 and all((job / "results.json").exists() for job in jobs)
        case ["python", "-m", "sparseift.train", "--help"] | ["python", "-m", "sparseift.train", *_, "--cfg", "job"]:
            assert succeeded(program("sparseift.train", words[3:], tmp_path)).out
        case ["python", "-m", "sparseift.train", *arguments] if any("text" in argument for argument in arguments):
            (tmp_path / "docs").mkdir()
            for path in (ROOT / "docs").glob("*.md"):
                (tmp_path / "docs" / path.name).write_text(path.read_text())
            updates = [] if "sparsifier=static" in arguments else ["sparsifier.update_interval=2"]
            short = ["trainer=cpu", "dataset.context_length=16", "recipe.epochs=1", "+trainer.limit_train_batches=8"]
            succeeded(program("sparseift.train", [*arguments, *short, *updates, *FEW_BATCHES[1:]], tmp_path))
            (run,) = (tmp_path / "runs").iterdir()
            assert results(run)["task"] == "language_modelling" and results(run)["flops"]["ratio"] > 0.99
        case ["python", "-m", module, run, *arguments] if run.startswith("runs/quickstart_text"):
            assert succeeded(program(module, [run, *arguments], finished_text)).out
            assert module != "sparseift.export" or (finished_text / "gpt" / "tokenizer.json").exists()
        case ["lm_eval", "--model", "hf", "--model_args", "pretrained=gpt", "--tasks", _]:
            pass  # another program, which reads what the command before it writes
        case ["python", "-m", "sparseift.train", *arguments]:
            succeeded(program("sparseift.train", [*arguments, "--cfg", "job"], tmp_path))
            given = "init.from=runs/dense" in arguments
            if given:
                before = ["member=dense", "hydra.run.dir=runs/dense", "dataset=digits"]
                succeeded(program("sparseift.train", shortened(before), tmp_path))
            succeeded(program("sparseift.train", shortened(arguments), tmp_path))
            assert len(list(tmp_path.glob("runs/*/results.json"))) == 1 + given
            assert bool(list(tmp_path.glob("runs/*/fit-profile.txt"))) == ("+trainer.profiler=simple" in arguments)
        case ["python", "-m", module, *arguments] if module.removeprefix("sparseift.") in ALONE:
            assert succeeded(program(module, arguments, finished)).out
        case _:
            pytest.fail(f"no test for this command: {' '.join(words)}")


def test_python_of_a_user_of_the_library(tmp_path):
    (block,) = [block for block in BLOCKS if block.language == "python" and "RigL(" in block.code]
    check = "print(sum(int((masks.weights[name][~masks[name]] != 0).sum()) for name in masks))\n"
    (tmp_path / "train.py").write_text(block.code + check)
    printed, active_where_masked = python("train.py", cwd=tmp_path).out.splitlines()
    loss = re.match(r"loss (\S+) with \d+% of the weights at 1\.0000 of", printed)
    assert float(loss[1]) < 1.0
    assert active_where_masked == "0"


def test_python_of_the_readme(tmp_path):
    (block,) = [block for block in BLOCKS if block.language == "python" and block.page.name == "README.md"]
    (tmp_path / "plan.py").write_text(block.code)
    printed = python("plan.py", cwd=tmp_path).out
    assert re.fullmatch(r"11,\d{3},\d{3} of 45,693,032 weights at 1\.0000 of the dense FLOPs\n", printed), printed


def test_python_without_this_package(finished, program):
    (words,) = [words for words in COMMANDS if "sparseift.export" in words and "--format" not in words]
    succeeded(program("sparseift.export", words[3:], finished))
    (block,) = [block for block in BLOCKS if block.language == "python" and "torch.export.load" in block.code]
    (finished / "use.py").write_text(block.code)
    (finished / "sparseift.py").write_text("raise ImportError('exported files must not need this package')")
    try:
        out = python("use.py", cwd=finished).out
    finally:
        (finished / "sparseift.py").unlink()
    assert re.match(r"5 samples classified; 7\d% of the first masked layer is zero", out), out


def test_python_that_loads_a_run(finished):
    (block,) = [block for block in BLOCKS if block.language == "python" and "sparseift.load" in block.code]
    (finished / "load.py").write_text(block.code)
    out = python("load.py", cwd=finished).out
    assert re.fullmatch(r"\d with 1\.0000 of the dense FLOPs, \d+ masks\n", out), out


def test_every_other_block_is_tried_too():
    """A new code block needs a test."""
    alone = [block for block in BLOCKS if block.language in ("python", "yaml") and not block.file]
    assert len(alone) == 4
    assert {block.language for block in BLOCKS} == {"bash", "python", "pycon", "yaml", "text", "bibtex"}


def test_a_run_writes_what_is_listed(finished):
    (listed,) = [
        block.code.splitlines() for block in BLOCKS if block.page.name == "runs.md" and block.language == "text"
    ]
    names = {line.split()[0] for line in listed}
    written = files(finished / "runs" / "quickstart" / "sparse_wide")
    expected = {"/".join(name.split("/")[:1]) + "/" if name.startswith("tensorboard/") else name for name in written}
    assert names - {"generated.json", "tokenizer.json"} <= expected  # those of runs on text
    others = (".hydra/", "evaluation_", "sparse.safetensors")  # a folder; written by evaluate and by export
    assert not {name for name in expected if not name.startswith(others)} - names


def test_the_groups_have_these_choices():
    """A row with dots may omit choices."""
    rows = {group: cells[0].split() for group, cells in table("command_line.md", "group").items()}
    assert set(rows) == {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} - {"shared", "hydra"}
    for group, words in rows.items():
        folder = ROOT / "conf" / group
        existing = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
        listed = set(words) - {"a", "number,", "or", "..."}
        assert listed <= existing if "..." in words else listed == existing


def test_the_options_exist(program, tmp_path):
    configs = [
        OmegaConf.create(succeeded(program("sparseift.train", [*choices, "--cfg", "job"], tmp_path)).out)
        for choices in (
            ["dataset=imagenet", "callbacks=[spectral,ema]", "pattern=n_of_m"],
            ["dataset=image_folder", "dataset.num_classes=2"],
            ["dataset=text", "tokenizer=saved", "pattern=block"],
            ["member=sparse_doped", "model=timm", "+model.pretrained=true"],
            ["member=sparse_parallel", "model=torchvision", "+model.weights=DEFAULT"],
        )
    ]
    groups = set(configs[0])
    words = {word for word in inline_code() if word.split(".")[0] in groups and "." in word and word != "model.pt2"}
    options = {word.partition("=")[0] for word in words}
    assert len(options) > 10
    missing = {option for option in options if not any(has(config, option) for config in configs)}
    assert not missing


def has(config, dotted: str) -> bool:
    for key in dotted.split("."):
        if key not in config:
            return False
        config = config._get_node(key)
    return True


def profile(program: Zygote, cwd: Path, *arguments: str) -> dict:
    return json.loads(succeeded(program("sparseift.profile", [*arguments, "format=json"], cwd)).out)


def test_the_members_cost_what_the_table_says(program, tmp_path):
    rows = table("members.md", "member", "FLOPs per sample")
    for member, row in rows.items():
        seen = profile(program, tmp_path, f"member={member}")
        assert row == [f"{seen[key]:,}" for key in ("forward", "params_stored", "params_active")]
    assert len(rows) == 5


def test_the_comparison_is_of_what_quickstart_trains(program, tmp_path):
    width = re.search(r"BASE_WIDTH=(\d+)", (ROOT / "scripts" / "quickstart").read_text())[1]
    rows = {name: cells for name, cells in table("getting_started.md", "").items() if cells}
    for column, member in enumerate(("dense", "sparse_wide")):
        seen = profile(program, tmp_path, f"member={member}", "dataset=digits", f"model.base_width={width}")
        assert rows["FLOPs per sample"][column] == si(seen["forward"])
        assert rows["relative to budget"][column] == f"{seen['ratio']:.4f}"
        assert rows["stored parameters"][column] == si(seen["params_stored"])
        assert rows["active parameters"][column] == si(seen["params_active"])


def test_what_masks_cost_is_what_was_measured():
    """The table shows the results in docs/bench.json."""
    rows = json.loads((ROOT / "docs" / "bench.json").read_text())["rows"]
    ratios = {figure["name"]: figure["ratio"] for figure in rows["overhead"]["figures"]}
    for name, cells in table("speed.md", "time relative to a step without masks").items():
        names = name, f"rigl-torch: {name.partition(':')[0]}"
        assert cells == [f"{ratios[name]:.4f}" if name in ratios else "-" for name in names]


def test_the_supported_networks_are_those_of_the_script():
    supported = table("networks.md", "member")
    counted = table("dropin.md", "member")
    assert len(supported) == 4
    for member, (networks, rejected) in supported.items():
        number, _, _ = counted[member][1].partition(" ")
        assert (networks, rejected) == (f"{number} of {counted[member][0]}", counted[member][2])


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.name)
def test_links_and_files_exist(page):
    text = page.read_text()
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", FENCE.sub("", text)) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    local = [target for target in targets if "://" not in target]
    assert page.name != "README.md" or len(local) >= 4
    assert not [target for target in local if not (page.parent / target).exists()]
