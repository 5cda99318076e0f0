"""scripts/same_bits finds two checkouts equal, or tells which run differs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..e2e.programs import environment

ROOT = Path(__file__).parents[2]


def same_bits(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "scripts/same_bits", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


@pytest.mark.timeout(900)  # several runs, each in a process of its own
def test_a_checkout_trains_the_same_as_itself() -> None:
    done = same_bits(ROOT, ROOT, "dense", "resumed")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["dense: same", "resumed: same", "2 of 2 runs are the same"]


def test_other_random_growth_is_found(tmp_path: Path) -> None:
    for folder in ("sparseift", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "sparseift/sparsifiers/set.py"
    file.write_text(file.read_text().replace("return uniform_like(", "return -uniform_like("))
    done = same_bits(ROOT, tmp_path, "set")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "set: weights_sha256 differs, masks_sha256 differs",
        "0 of 1 runs are the same",
    ]


def test_a_failed_run_is_told(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "sparseift").mkdir()
    (tmp_path / "sparseift/__init__.py").touch()
    (tmp_path / "sparseift/train.py").write_text("raise SystemExit('no training here')")
    done = same_bits(tmp_path, ROOT, "dense")
    assert done.returncode == 1
    assert done.stdout.startswith("dense: failed: exit code 1 with ") and "no training here" in done.stdout


def test_mistakes(tmp_path: Path) -> None:
    done = same_bits(ROOT, ROOT, "sparse_wider")
    assert done.returncode == 2 and done.stderr.startswith("same_bits: NAME is 'sparse_wider'; expected one of dense, ")
    done = same_bits(ROOT, tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"same_bits: CHECKOUT is {tmp_path}; expected a folder that contains sparseift/__init__.py\n"
