"""scripts/growth_steps on one setting, and its mistake."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sparseift.sparsifiers import RigL

SCRIPT = Path(__file__).parents[2] / "scripts" / "growth_steps"


@pytest.fixture(scope="module")
def script() -> dict:
    sys.path.insert(0, str(SCRIPT.parent))  # as for a program
    try:
        return runpy.run_path(str(SCRIPT))
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.mark.parametrize("state", ["new", "matched"])
def test_steps_of_grown_and_other_weights(script, state: str) -> None:
    rigl = RigL(script["INTERVAL"], 0.0, 1.0, 0.3, "constant", grown_state=state)
    first, followed, accuracy = script["train"](rigl, "AdamW", 160, betas=(0.9, 0.999))
    assert len(first.grown) * script["FOLLOWED"] == len(followed.grown) * script["FIRST"] > 0
    grown, others = (torch.cat(sizes).mean() for sizes in (first.grown, first.others))
    assert grown > 4 * others if state == "new" else 0 < grown <= others
    assert first.mean() == f"{grown:.3f} / {others:.3f}" and accuracy > 30


def test_too_few_steps() -> None:
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(SCRIPT), "--steps", "150"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    told = "growth_steps: --steps is 150; expected more than 150\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
