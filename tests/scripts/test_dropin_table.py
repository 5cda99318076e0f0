"""scripts/dropin_table on two small networks, with --check."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision

pytest.importorskip("timm")

SCRIPT = Path(__file__).parents[2] / "scripts" / "dropin_table"
FITS, REFUSED = "torchvision/squeezenet1_1", "timm/nf_resnet50"


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dropin")
    done = run(FITS, REFUSED, "--members", "sparse_wide", "--check", "--out", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2
    return folder


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "dropin.csv").open(newline="") as file:
        return {row["network"]: row for row in csv.DictReader(file)}


def test_a_network_that_fits_has_the_published_costs_and_passes_the_check(folder: Path) -> None:
    row, published = rows(folder)[FITS], torchvision.models.get_model_weights(FITS.split("/")[1]).DEFAULT.meta
    assert int(row["dense"]) == published["num_params"]
    assert int(row["budget"]) == pytest.approx(2e9 * published["_ops"], rel=0.01)  # theirs are multiply-accumulates
    assert float(row["ratio"]) == pytest.approx(1, abs=1e-3)
    assert int(row["active"]) < int(row["stored"]) < 4 * int(row["dense"])
    assert (row["refusal"], row["check"]) == ("", "passed")


def test_a_refusal_is_one_line_in_the_table(folder: Path) -> None:
    row = rows(folder)[REFUSED]
    assert "compute their weight before use" in row["refusal"] and "\n" not in row["refusal"]
    page = (folder / "dropin.md").read_text()
    assert f"- {REFUSED}, `sparse_wide`: {row['refusal']}" in page
    assert "| `sparse_wide` | 2 | 1 (50.0%) | 1 | 1 | 0 |" in page


def test_torch_counts_the_flops_of_every_plan_of_the_table() -> None:
    """Of the dense network exactly; of the transformed one as a ratio."""
    with (SCRIPT.parents[1] / "docs" / "dropin.csv").open(newline="") as file:
        planned = [row for row in csv.DictReader(file) if int(row["budget"])]
    assert len(planned) > 600
    for row in planned:
        assert int(row["torch_dense"]) == int(row["budget"]), row
        assert float(row["torch_ratio"]) == pytest.approx(float(row["ratio"]), abs=1e-9), row


def test_rows_that_are_there_are_not_done_again(folder: Path) -> None:
    again = run(FITS, REFUSED, "--members", "sparse_wide", "--check", "--out", folder)
    assert (again.returncode, again.stdout) == (0, "")


def test_a_mistake_is_told_in_one_line(tmp_path: Path) -> None:
    wrong = run("nothing", "--out", tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("sparseift: GLOB is 'nothing'; expected networks") and wrong.stderr.count("\n") == 1
