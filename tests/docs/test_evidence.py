"""The evidence: its runs are those of the grid, and its tables are made from them."""

import json
import re

import pytest
import yaml

from sparseift.report import tables
from sparseift.report.rows import sections
from sparseift.runs.read import find_runs

from .pages import ROOT

GRID = ROOT / "docs" / "evidence"
EVIDENCE = GRID / "resnet18"
TEXT = (EVIDENCE / "README.md").read_text()
RESULTS = sorted((EVIDENCE / "runs").glob("*/results.json"))


def test_table_is_that_of_the_report(program, tmp_path) -> None:
    outcome = program("sparseift.report", [str(EVIDENCE / "runs"), "--out", "report"], tmp_path)
    assert outcome.code == 0, outcome
    paragraphs = (tmp_path / "report/report.md").read_text().split("\n\n")
    (table,) = (text for text in paragraphs if text.startswith("| member |"))
    assert table.count("\n") > 2
    assert table in TEXT and table in (EVIDENCE / "report/report.md").read_text()


def test_runs_are_what_their_folders_are_called() -> None:
    for file in RESULTS:
        run, (setting, seed) = json.loads(file.read_text()), re.fullmatch(r"(.+)_seed(\d+)", file.parent.name).groups()
        assert run["seed"] == int(seed)
        if run["member"] != "dense":
            config = yaml.safe_load((file.parent / ".hydra/config.yaml").read_text())
            alone = "_norm_alone" if config["member"].get("activation") is False else ""
            assert setting == f"{run['member']}_{run['sparsity']}_{run['sparsifier']}{alone}"


def test_runs_cost_what_the_dense_network_costs() -> None:
    for file in RESULTS:
        assert abs(json.loads(file.read_text())["flops"]["ratio"] - 1) < 1e-3, file


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    """The module that writes docs/evidence/tables.md."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from evidence_parts import page

    return page


def test_every_run_is_one_of_the_grid(page) -> None:
    for part in page.parts().values():
        jobs = {folder.partition("/")[2]: overrides.split() for folder, overrides in part.jobs()}
        for file in (GRID / part.name).glob("*/results.json"):
            typed = yaml.safe_load((file.parent / ".hydra/overrides.yaml").read_text())
            expected = [override.replace("sparsity=0", "sparsity.level=0") for override in jobs[file.parent.name]]
            assert typed[: len(expected)] == expected
    assert {"images", "text"} <= {one.part.name for one in page.outcomes()}


def test_the_tables_are_those_of_the_runs(page) -> None:
    assert (GRID / "tables.md").read_text() == "\n".join(page.page(page.outcomes())) + "\n"


def test_the_reports_have_the_tables_of_the_runs(page) -> None:
    for one in page.outcomes():
        (section,) = sections(find_runs([GRID / one.part.name]))
        assert tables.markdown(section) in (GRID / "report" / one.part.name / "report.md").read_text()


def test_sparse_rows_cost_what_the_dense_network_costs(page) -> None:
    """But for the dense network with masks and for the convention of the paper, which are in the grid for that."""
    other = {"sparse_0.75": 0.304, "wide_0.5_nominal": 1.195}
    for one in page.outcomes():
        for row in one.runs:
            if not row.startswith("dense"):
                assert one.cost(row) == pytest.approx(other.get(row, 1), abs=1e-3), row


@pytest.mark.parametrize("name", ["README.md", "docs/evidence/README.md"])
def test_differences_in_the_text_are_those_of_the_tables(name: str) -> None:
    found = re.findall(r"[+-]\d+\.\d+ \[[+-][\d.]+, [+-][\d.]+\]", (ROOT / name).read_text())
    tables_text = (GRID / "tables.md").read_text()
    assert found and all(difference in tables_text for difference in found)
