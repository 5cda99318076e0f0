"""The programs as they are typed."""

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sparseift import UserError
from sparseift.app.overrides import config_folder
from sparseift.report import page
from sparseift.report.program import report

from ..e2e.programs import environment
from .folders import write_run


def test_report(program, sweep, tmp_path) -> None:
    write_run(sweep / "late", finished=False, epochs=1)
    long = {"recipe": {"epochs": 4, "name": 200 * "x"}}
    write_run(sweep / "long", config=long)
    run = program("sparseift.report", ["sweep", "--out", "here"], tmp_path)
    assert (run.code, run.err) == (0, "")
    assert "11 run folders: 10 finished, 1 unfinished" in run.out
    assert 200 * "x" in run.out, "nothing is cut where there is no terminal"
    assert "sweep/late: unfinished, 1 of 4 epochs trained" in run.out
    assert run.out.rstrip().endswith("open here/report.html")
    found = {path.relative_to(tmp_path / "here").as_posix() for path in (tmp_path / "here").rglob("*")}
    assert {"report.html", "report.md", "table.csv", "table.tex"} <= found
    assert {Path(name).suffix for name in found if name.startswith("figures/")} == {".png", ".svg"}


def test_the_same_runs_give_the_same_files(program, sweep, tmp_path) -> None:
    """Also where Python hashes strings in another way, and where the terminal has no ±."""
    assert program("sparseift.report", ["sweep", "--out", "one"], tmp_path).code == 0
    again = [sys.executable, "-m", "sparseift.report", "sweep", "--out", "two"]
    ascii_only = environment() | {"PYTHONIOENCODING": "ascii"}
    subprocess.run(again, cwd=tmp_path, env=ascii_only, check=True, capture_output=True)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path


def test_what_fails_half_way_leaves_the_old_report(sweep, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    report([sweep], tmp_path / "out")
    before = content()
    write_run(sweep / "another", accuracy=0.1, seed=7)
    monkeypatch.setattr(page, "markdown", full)
    with pytest.raises(UserError, match=f"cannot write to {tmp_path / 'out'}: No space left on device"):
        report([sweep], tmp_path / "out")
    assert content() == before


def test_names_that_are_no_text(program, tmp_path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/sw\xff"))
    write_run(folder / "a")
    run = program("sparseift.report", [str(tmp_path), "--out", "out"], tmp_path)
    assert run.code == 0 and "1 run folders: 1 finished" in run.out
    links = re.findall(r'href="(\.\./[^"]*)/"', (tmp_path / "out/report.html").read_text())
    assert links and all((tmp_path / "out" / os.fsdecode(unquote_to_bytes(link))).is_dir() for link in links)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("report",), "the following arguments are required: RUN; see --help"),
        (("compare", "sweep/dense0"), "arguments are required: B"),
        (("report", "nowhere"), "nowhere is not a folder"),
        (("report", "empty"), "no runs in empty"),
        (("report", "sweep", "--out", "file/x"), "cannot write to file/x"),
        (("compare", "sweep/dense0", "empty"), "empty is not a run folder"),
        (("compare", "sweep/dense0", "nowhere"), "nowhere is not a run folder"),
    ],
)
def test_mistakes_in_one_line(program, sweep, tmp_path, arguments, told) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    run = program(f"sparseift.{arguments[0]}", arguments[1:], tmp_path)
    assert run.code == 2 and run.out == ""
    assert run.err.startswith("sparseift: ") and run.err.count("\n") == 1 and told in run.err


def test_compare(program, sweep, tmp_path) -> None:
    run = program("sparseift.compare", ["sweep/dense0", "sweep/wide1"], tmp_path)
    assert (run.code, run.err) == (0, "")
    lines = {line.split("│")[1].strip(): line.split("│")[2:4] for line in run.out.splitlines() if "│" in line}
    assert [cell.strip() for cell in lines["member._target_"]] == ["dense", "sparse_wide"]
    assert [cell.strip() for cell in lines["layer1.0.conv1"]] == [
        "400 / 400 (1.0000), 3 k",
        "100 / 400 (0.2500), 3 k",
    ]
    assert "conv1" not in lines and "recipe.epochs" not in lines
    assert [cell.strip() for cell in lines["test top-1"]] == ["90.00 %", "94.00 %"]
    assert "B - A: +4.00 points" in run.out


def test_compare_with_a_run_that_is_not_finished(program, sweep, tmp_path) -> None:
    write_run(sweep / "late", seed=5, finished=False, epochs=1)
    run = program("sparseift.compare", ["sweep/dense0", "sweep/late"], tmp_path)
    assert run.code == 0
    assert "B: sweep/late, unfinished, 1 of 4 epochs trained" in run.out
    assert "seed" in run.out and "top-1" not in run.out


def test_compare_shows_brackets_as_they_are(program, sweep, tmp_path) -> None:
    write_run(sweep / "odd [red]", config={"sparsity": {"include": "[bold]", "level": 0.75}})
    run = program("sparseift.compare", ["sweep/dense0", "sweep/odd [red]"], tmp_path)
    assert "B: sweep/odd [red], finished" in run.out and "[bold]" in run.out


def test_compare_a_run_with_itself(program, sweep, tmp_path) -> None:
    run = program("sparseift.compare", ["sweep/wide0", "sweep/wide0"], tmp_path)
    assert run.out.count("no difference") == 2 and "bit-identical" in run.out


@pytest.fixture(scope="module")
def trained(program, tmp_path_factory) -> Path:
    """A sweep of two real runs, and a job that fails."""
    folder = tmp_path_factory.mktemp("real")
    quick = ["dataset=digits", "trainer=cpu", "model.base_width=4", "dataset.batch_size=256", "recipe.epochs=1"]
    quick += ["export=false", "sparsifier.update_interval=2", "hydra.sweep.dir=sweep"]
    quick += ["member=dense,sparse_wide", "sparsifier=rigl", "sparsity=0.75,2"]
    run = program("sparseift.train", ["-m", *quick], folder)
    assert run.code == 1, run.err
    return folder


def test_real_runs(program, trained) -> None:
    run = program("sparseift.report", ["sweep"], trained)
    assert (run.code, run.err) == (0, "")
    assert "4 run folders: 2 finished, 2 failed" in run.out
    results = [json.loads(path.read_text()) for path in sorted((trained / "sweep").glob("*/results.json"))]
    table = (trained / "report/table.csv").read_text().splitlines()
    assert len(table) == 3
    for result, line in zip(results, table[1:], strict=True):
        assert result["member"] in line and str(100 * result["test"]["acc1"]) in line
    page = (trained / "report/report.html").read_text()
    assert "Density by depth" in page and "fraction of active weights replaced" in page


def test_the_command_composes_the_very_config(trained) -> None:
    """By Hydra itself: the arguments of a row's command give the config that the run was made with."""
    from sparseift.runs.read import find_runs

    for run in find_runs([trained / "sweep"]):
        python, module, program, *overrides = shlex.split(run.command)
        assert (python, module, program) == ("python", "-m", "sparseift.train")
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            again = OmegaConf.to_container(compose("train", overrides))
        assert again == yaml.safe_load((run.folder / ".hydra/config.yaml").read_text())
