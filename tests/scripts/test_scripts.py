"""Scripts for the repository's own tables and figures: a mistake is told in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["bench", "cluster_plan", "draw_family", "dropin_table", "growth_steps"])
def test_without_the_package(name: str) -> None:
    done = run("-S", f"scripts/{name}")  # -S: without what is installed
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"scripts/{name}: no sparseift in ") and done.stderr.count("\n") == 1


def test_a_network_that_torchvision_does_not_have() -> None:
    done = run("scripts/cluster_plan", "resnet19")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "cluster_plan: torchvision has no classification network resnet19; resnet50 is one\n"
