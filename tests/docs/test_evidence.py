"""The tables of the evidence are those of the report on its runs."""

import json
import re

import yaml

from .readme import ROOT

EVIDENCE = ROOT / "docs" / "evidence" / "resnet18"
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
