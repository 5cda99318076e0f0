"""metrics.csv and layers.csv: any columns, whole at any time, continued by the process that goes on with the run."""

import csv
from pathlib import Path

import pytest

from sparseift.training.loggers import LayersCsv, MetricsCsv
from sparseift.training.loggers.metrics_csv import ROWS_PER_SAVE


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def test_rows_of_different_columns(tmp_path) -> None:
    log = MetricsCsv(tmp_path)
    log.log_metrics({"train/loss": 0.5}, step=0)
    log.log_metrics({"val/acc1": 0.25, "epoch": 0}, step=1)
    log.finalize("success")
    assert rows(tmp_path) == [
        {"step": "0", "train/loss": "0.5"},
        {"step": "1", "val/acc1": "0.25", "epoch": "0.0"},
    ]
    assert (tmp_path / "metrics.csv").read_text().startswith("step,epoch,train/loss,val/acc1\n")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_values_come_back_to_the_bit(tmp_path) -> None:
    log = MetricsCsv(tmp_path)
    values = [0.1 + 0.2, 1e-300, 3.0e17 + 64]
    for step, value in enumerate(values):
        log.log_metrics({"value": value}, step)
    log.save()
    assert [float(row["value"]) for row in rows(tmp_path)] == values


def test_saved_now_and_then_without_being_asked(tmp_path) -> None:
    log = MetricsCsv(tmp_path)
    for step in range(ROWS_PER_SAVE + 1):
        log.log_metrics({"loss": 1.0}, step)
    assert len(rows(tmp_path)) == ROWS_PER_SAVE


def test_nothing_logged_is_no_file(tmp_path) -> None:
    MetricsCsv(tmp_path).save()
    assert list(tmp_path.iterdir()) == []


def test_continued_from_a_checkpoint(tmp_path) -> None:
    """Rows count steps from 0: a checkpoint of 3 steps keeps rows 0, 1 and 2."""
    before = MetricsCsv(tmp_path)
    for step in range(5):
        before.log_metrics({"loss": step}, step)
    before.save()
    after = MetricsCsv(tmp_path)
    after.continue_from(3, before.text)
    after.log_metrics({"loss": 30}, 3)
    after.save()
    assert [float(row["loss"]) for row in rows(tmp_path)] == [0, 1, 2, 30]


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("step,loss\n0,1.0\n1,2.0\n2,0", [0, 1]),  # cut short by a kill
        ("step,loss\n0,1.0\n\n,\n1\nx,1.0\n1,a\n1,2,3\n1,\x00\n1,\ufffd\n2,3.0\n", [0, 2]),
        ('step,loss\n0,1.0\n"1,1.0\n2,3.0\n', [0, 2]),  # a quote that does not end
        ("step,lo", []),
        ("loss\n0\n", []),
    ],
)
def test_damaged_rows_are_left_out(tmp_path, lines: str, kept: list[int]) -> None:
    (tmp_path / "metrics.csv").write_text(lines)
    log = MetricsCsv(tmp_path)
    with pytest.warns(UserWarning, match="damaged rows, which are left out"):
        log.continue_from(5, text=None)
    log.log_metrics({"loss": 9}, 5)
    log.save()
    assert [int(row["step"]) for row in rows(tmp_path)] == [*kept, 5]


def test_the_file_is_not_read_if_the_checkpoint_has_the_rows(tmp_path) -> None:
    before, after = MetricsCsv(tmp_path), MetricsCsv(tmp_path)
    before.log_metrics({"loss": 0.1}, 0)
    (tmp_path / "metrics.csv").write_bytes(b"\xff\0")
    after.continue_from(1, before.text)
    after.save()
    assert rows(tmp_path) == [{"step": "0", "loss": "0.1"}]


def test_rows_after_the_checkpoint_go_even_if_nothing_is_logged(tmp_path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n0,1.0\n1,2.0\n")
    log = MetricsCsv(tmp_path)
    log.continue_from(1, text=None)
    log.save()
    assert rows(tmp_path) == [{"step": "0", "loss": "1.0"}]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    log = MetricsCsv(tmp_path)
    log.log_metrics({"loss": 1}, 0)
    log.save()
    monkeypatch.setattr(csv.DictWriter, "writerows", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    log.log_metrics({"loss": 2}, 1)
    with pytest.raises(OSError, match="disk full"):
        log.save()
    monkeypatch.undo()
    assert rows(tmp_path) == [{"step": "0", "loss": "1.0"}]


def test_values_of_layers_have_a_file_of_their_own(tmp_path) -> None:
    """A row for each layer, and a column for each value, however many layers there are."""
    values = {"layers/conv1/itop": 0.5, "layers/fc.0/itop": 0.25, "layers/fc.0/churn": 1}
    metrics, layers = MetricsCsv(tmp_path), LayersCsv(tmp_path)
    for log in (metrics, layers):
        log.log_metrics({"masks/itop": 0.4, **values}, step=3)
        log.log_metrics(values, step=4)
        log.save()
    assert rows(tmp_path) == [{"step": "3", "masks/itop": "0.4"}]
    assert (tmp_path / "layers.csv").read_text().splitlines() == [
        *("step,layer,churn,itop", "3,conv1,,0.5", "3,fc.0,1.0,0.25", "4,conv1,,0.5", "4,fc.0,1.0,0.25")
    ]
    after = LayersCsv(tmp_path)
    after.continue_from(4, layers.text)
    after.save()
    assert (tmp_path / "layers.csv").read_text().splitlines()[1:] == ["3,conv1,,0.5", "3,fc.0,1.0,0.25"]
