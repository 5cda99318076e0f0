"""Smoke test of scripts/bench: the benchmarks run and the tables are right. Times are not checked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench"
ROWS = ["overhead", "language", "checkpoint", "jpegs", "optimizer", "plan", "precision", "small_images"]


def run(script: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    done = run(SCRIPT, *ROWS, "--quick", "--out", folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bench.json").read_text())


def test_the_benchmarks_of_the_sparse_backend_run(tmp_path: Path) -> None:
    rows = ["sparse", "sparse_blocks", "sparse_language", "inference"]
    done = run(SCRIPT, *rows, "--quick", "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert list(found) == rows and all(figure["samples"] for row in found.values() for figure in row["figures"])


def test_every_figure_is_measured_or_says_why_not(results: dict[str, Any]) -> None:
    assert set(results["rows"]) == set(ROWS)
    figures = [figure for row in results["rows"].values() for figure in row["figures"]]
    assert len(figures) >= 8
    for figure in figures:
        assert figure["note"] if not figure["samples"] else all(sample >= 0 for sample in figure["samples"])


def test_medians_quartiles_and_ratios_are_those_of_the_samples(results: dict[str, Any]) -> None:
    compared = 0
    for row in results["rows"].values():
        by_name = {figure["name"]: figure for figure in row["figures"]}
        for figure in filter(lambda figure: figure["samples"], by_name.values()):
            assert figure["median"] == pytest.approx(median(figure["samples"]))
            if len(figure["samples"]) > 1:
                first, _, third = quantiles(figure["samples"], n=4, method="inclusive")
                assert figure["quartiles"] == pytest.approx([first, third])
            if figure["base"]:
                pairs = zip(figure["samples"], by_name[figure["base"]]["samples"], strict=True)
                assert figure["ratio"] == pytest.approx(median(own / base for own, base in pairs))
                compared += 1
    assert compared >= 6


def test_what_it_was_measured_on_is_told(results: dict[str, Any], folder: Path) -> None:
    assert {row["versions"]["torch"] for row in results["rows"].values()} == {torch.__version__.partition("+")[0]}
    assert results["machine"]["threads"] == 1 and results["allocator"]["MALLOC_MMAP_MAX_"] == "0"
    page = (folder / "bench.md").read_text()
    assert f"`scripts/bench {' '.join(ROWS)} --quick" in page and "the times mean nothing" in page
    assert all(f"## {row}" in page for row in ROWS)


def test_a_peer_that_is_not_installed_is_skipped_with_a_word(results: dict[str, Any]) -> None:
    row = results["rows"]["overhead"]
    peers = [figure for figure in row["figures"] if figure["name"].startswith("rigl-torch")]
    if row["versions"]["rigl-torch"] == "not installed":
        assert [peer["note"].partition(":")[0] for peer in peers] == ["skipped"]
    else:
        assert len(peers) == 2 and all(peer["ratio"] > 0 for peer in peers)


def test_the_peak_of_a_process() -> None:
    """The peak is that of the process itself, not of its parent."""
    large = b"1" * 2**30
    done = run(SCRIPT.parent / "benchmarks" / "peak.py", "sparse_wide", "rigl", "0.9", "4", "8")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(large) > found["peak"] > 12 * found["stored"] > 12 * found["masked"] > 12 * found["largest"] > 0


def test_a_row_that_is_not_there_is_told_in_one_line() -> None:
    wrong = run(SCRIPT, "speed")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("bench: BENCHMARK is 'speed'; expected one of ") and wrong.stderr.count("\n") == 1
