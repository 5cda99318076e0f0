"""A small version of every part of scripts/reliability."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..e2e.programs import environment

SCRIPT = Path(__file__).parents[2] / "scripts/reliability"


def reliability(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, SCRIPT, *arguments], env=environment(), capture_output=True, text=True)


@pytest.fixture
def rows(tmp_path):
    """The cases of a part, which must all end as promised."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        done = reliability(*arguments, "--json", tmp_path / "rows.json")
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads((tmp_path / "rows.json").read_text())["rows"]

    return run


def test_mistakes(tmp_path: Path) -> None:
    assert "invalid choice: 'floods'" in reliability("floods").stderr


def test_kills(rows) -> None:
    found = rows("kills", "--runs", "1", "--kinds", "rigl", "--processes", "1")
    assert [row["outcome"] for row in found] == ["same bits"]


def test_bits(rows) -> None:
    found = rows("bits", "--flips", "20", "--pages", "5", "--commands", "0")
    outcomes = {(row["kind"], row["outcome"]) for row in found}
    assert ("one bit of last.ckpt", "used previous.ckpt") in outcomes
    assert ("a zeroed page of best.ckpt", "refused") in outcomes
    assert len(found) == 2 * (20 + 5 + 5)


@pytest.mark.timeout(900)  # six runs with TensorBoard and model.pt2
def test_disks(rows) -> None:
    found = rows("disks", "--disks", "1", "--limits", "0", "--processes", "1")
    assert [row["kind"] for row in found] == ["small disk", "disk filled later"]


def test_folders(rows) -> None:
    found = rows("folders", "--only", "escape sequences as")
    assert len(found) == 12 and {row["outcome"] for row in found} == {"read"}


def test_inputs(rows) -> None:
    """tests/e2e/test_mistakes.py has more of them."""
    found = rows("inputs", "--every", "45")
    assert len(found) >= 9 and {row["outcome"] for row in found} == {"refused", "trained"}
