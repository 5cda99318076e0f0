"""results.json: what is written and read, and the versions in it."""

import json

import pytest
import torch

from sparseift import UserError
from sparseift.runs.results import read_results, versions, write_json, write_results

from ..report.folders import MAE, judged_by, results_of


def test_json_is_written_whole_or_not_at_all(tmp_path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert path.read_text().endswith("}\n")


def results(value: float = 0.25) -> dict:
    return results_of("dense", 0.9, 0, 0.0, "none") | judged_by(MAE, value)


def test_what_is_written_is_read(tmp_path) -> None:
    path = tmp_path / "results.json"
    written = results()
    del written["version"]
    write_results(path, written)
    assert read_results(path) == results()
    assert read_results(path).items() < json.loads(path.read_text()).items()


def test_results_that_no_report_can_use_are_not_written(tmp_path) -> None:
    with pytest.raises(UserError, match=r"^test\.mae is nan; expected a finite number$"):
        write_results(tmp_path / "results.json", results(float("nan")))
    with pytest.raises(UserError, match=r"^metrics is missing$"):
        write_results(tmp_path / "results.json", {key: value for key, value in results().items() if key != "metrics"})
    with pytest.raises(UserError, match=r"^metrics is \[\]; expected at least one metric$"):
        write_results(tmp_path / "results.json", results() | {"metrics": []})
    assert not list(tmp_path.iterdir())


def test_versions() -> None:
    told = versions()
    assert torch.__version__.startswith(told["torch"])
    assert all(value[0].isdigit() for value in told.values())


def test_damage_is_noticed_wherever_it_changes_a_value(tmp_path) -> None:
    path = tmp_path / "results.json"
    write_results(path, results())
    content = path.read_bytes()
    noticed = 0
    for bit in range(8 * len(content)):
        place = bit // 8
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit % 8]) + content[place + 1 :])
        try:
            found = read_results(path)
        except UserError:
            noticed += 1
        else:
            assert {key: found[key] for key in results()} == results()
    assert noticed > 5 * len(content)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_nan(tmp_path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": [value]})
    assert not list(tmp_path.iterdir())
