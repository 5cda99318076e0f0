"""scripts/gpu_check on a CPU: it runs what makes sense there, and says what it has left out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, ROOT / "scripts/gpu_check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_checks_of_a_cpu(tmp_path: Path) -> None:
    checks = ("same_masks", "same_losses", "no_waits", "formats", "overhead", "profile")
    done = run(*checks, "--quick", "--out", tmp_path)
    assert done.returncode == 0, done
    report = json.loads((tmp_path / "gpu_check.json").read_text())
    assert report["quick"] and report["machine"]["device"] == "cpu" and report["machine"]["gpus"] == []
    outcomes = {name: row["outcome"] for name, row in report["checks"].items()}
    assert [outcomes.pop(name).partition(":")[0] for name in ("same_losses", "no_waits")] == ["left out"] * 2
    assert outcomes == dict.fromkeys(("same_masks", "formats", "overhead", "profile"), "passed")
    *formats, (_, left_out) = report["checks"]["formats"]["figures"].items()
    assert len(formats) == 3 and all(row["nonzero outside masks"] == 0 for _, row in formats)
    assert "compiled networks" in left_out
    assert report["checks"]["same_masks"]["figures"]["RigL"]["different"] == 0
    page = (tmp_path / "gpu_check.md").read_text()
    assert "the times mean nothing" in page and "left out: a comparison with a CPU needs a GPU" in page
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("masks", "CHECK is 'masks'; expected one of same_masks, "),
        ("--device=cuda", "--device is 'cuda'; expected cpu"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, argument: str, told: str) -> None:
    done = run(argument, "--out", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith(f"gpu_check: {told}") and done.stderr.count("\n") == 1
