"""README's table of evidence is that of the runs whose results are kept in docs/evidence."""

import json
import re
from collections import defaultdict
from statistics import mean

from sparseift.summary import si

from .readme import ROOT, table

RUNS = ROOT / "docs" / "evidence" / "runs"


def test_table_is_of_the_results_that_are_kept() -> None:
    kept = defaultdict(list)
    for file in sorted(RUNS.glob("*/results.json")):
        setting, seed = re.fullmatch(r"(\w[\w.]*)_seed(\d+)", file.parent.name).groups()
        kept[setting].append(json.loads(file.read_text()))
        assert kept[setting][-1]["seed"] == int(seed)
    rows = table("Fashion-MNIST")
    assert rows.keys() == kept.keys()
    for setting, results in kept.items():
        accuracy = mean(100 * result["test"]["acc1"] for result in results)
        flops = results[0]["flops"]["forward"]
        assert rows[setting] == [f"{len(results)}", f"{accuracy:.2f} %", si(flops)], setting


def test_runs_cost_what_the_dense_network_costs() -> None:
    for file in RUNS.glob("*/results.json"):
        assert abs(json.loads(file.read_text())["flops"]["ratio"] - 1) < 1e-3, file
