"""The notebook and the scripts in examples/ run as they stand, with fewer epochs, and are those that the page lists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sparseift

from ..e2e.programs import environment, quick, results

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHORT = ("recipe.epochs=1", "export=false")


def python(*arguments: str | Path, cwd: Path, **env: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment(**env), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def run(program, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    assert program("sparseift.train", quick("hydra.run.dir=run"), folder).code == 0
    return folder / "run"


def test_the_page_lists_every_example() -> None:
    listed = re.findall(r"^\| `(\w+\.\w+)` \|", (ROOT / "docs/notebooks.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.iterdir() if path.is_file())


def test_notebook(tmp_path) -> None:
    """Its code cells in one process, with one epoch and two seeds; both networks cost the same."""
    notebook = json.loads((EXAMPLES / "compare_pair.ipynb").read_text())
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    for before, after in (("EPOCHS = 12", "EPOCHS = 1"), ("SEEDS = (0, 1, 2)", "SEEDS = (0, 1)"), ("=10", "=2")):
        assert code.count(before) == 1
        code = code.replace(before, after)
    out = python("-c", code, cwd=tmp_path, MPLBACKEND="Agg")
    [plain, *_, again] = re.findall(r"([\d,]+) FLOPs per sample", out)
    assert plain == again
    assert re.search(r"^sparse wide - dense: [+-][\d.]+, [+-][\d.]+ points$", out, re.MULTILINE), out
    assert "the others are zero: True" in out and "python -m sparseift.train model._target_=plain_net.net" in out
    assert len(list(tmp_path.glob("runs/*/results.json"))) == 4


def test_train_pair(tmp_path) -> None:
    out = python(EXAMPLES / "train_pair.py", *SHORT, "recipe.epochs=2", cwd=tmp_path)
    costs = dict(re.findall(r"^(\w+): top-1 [\d.]+ %, ([\d,]+) FLOPs per sample", out, re.MULTILINE))
    assert costs.keys() == {"dense", "sparse_wide"} and len(set(costs.values())) == 1


def test_sweep_with_report(tmp_path) -> None:
    """A second start repeats nothing."""
    script = (EXAMPLES / "sweep_with_report.py").read_text().replace("SEEDS = 3", "SEEDS = 1")
    (tmp_path / "sweep.py").write_text(script.replace("update_interval=20", "update_interval=5"))
    out = python("sweep.py", *SHORT, cwd=tmp_path)
    folders = {path.parent.name for path in tmp_path.glob("runs/sweep/*/results.json")}
    assert folders == {"dense_seed0", "sparse_wide_seed0", "sparse_parallel_seed0"}
    assert (tmp_path / "runs/sweep_report/report.html").exists() and "3 run folders" in out
    assert python("sweep.py", *SHORT, cwd=tmp_path).count("already finished") == 3


def test_own_network(tmp_path) -> None:
    out = python(EXAMPLES / "own_network.py", *SHORT, "sparsifier.update_interval=5", cwd=tmp_path)
    assert re.search(r"[\d.]+ %; (0\.99|1\.00)\d+ of the dense FLOPs$", out.strip()), out
    [folder] = (tmp_path / "runs").iterdir()
    assert results(folder)["model"] == "own_network.net"


def test_load_and_predict(run) -> None:
    out = python(EXAMPLES / "load_and_predict.py", run, cwd=run.parent)
    assert len(re.findall(r"^digit \d: \d with probability [01]\.\d\d$", out, re.MULTILINE)) == 5
    assert re.search(r"^\d+ of 100 are right$", out, re.MULTILINE)


def test_export_network(run) -> None:
    out = python(EXAMPLES / "export_network.py", run, run.parent / "hub", cwd=run.parent)
    assert "6 files; 1.0000 of the dense FLOPs" in out
    assert sparseift.load(run.parent / "hub").plan == sparseift.load(run).plan
