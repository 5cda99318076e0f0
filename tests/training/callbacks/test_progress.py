"""What is shown while a run trains."""

import re
import sys
from types import SimpleNamespace

import pytest
from pytorch_lightning.callbacks import RichProgressBar

from sparseift.tasks import Classification
from sparseift.training.callbacks import progress
from sparseift.training.callbacks.progress import Bar, Lines

pytestmark = pytest.mark.filterwarnings("ignore")
HALF = SimpleNamespace(density=0.5)
ACC1 = Classification.metrics[0]


def test_the_speed_of_training_in_the_units_of_the_task(monkeypatch) -> None:
    clock, spent = [100.0], {"samples": 0}
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *_: {"train/loss": 1.0, "v_num": 0})
    bar, trainer = Bar(HALF, SimpleNamespace(spent=spent), ("tokens", 64)), SimpleNamespace(training=True)
    assert bar.get_metrics(trainer, None).keys() == {"train/loss", "density"}
    clock[0], spent["samples"] = 102.0, 100
    assert bar.get_metrics(trainer, None)["tokens/s"] == "3,200"
    clock[0], spent["samples"] = 103.0, 200
    assert "tokens/s" not in bar.get_metrics(SimpleNamespace(training=False), None)  # validation
    clock[0], spent["samples"] = 109.0, 201
    assert "tokens/s" not in bar.get_metrics(trainer, None)
    clock[0], spent["samples"] = 110.0, 202
    assert bar.get_metrics(trainer, None)["tokens/s"] == "64"


def test_a_bar_with_loss_accuracy_and_density(fit, monkeypatch) -> None:
    shown = []
    get_metrics = Bar.get_metrics
    monkeypatch.setattr(Bar, "get_metrics", lambda *args: shown.append(get_metrics(*args)) or shown[-1])
    fit(Bar(HALF, SimpleNamespace(spent={"samples": 0}), ("samples", 1)))
    assert shown[-1].keys() == {"train/loss", "val/acc1", "val/acc5", "density"}
    assert shown[-1]["density"] == "0.5000"
    assert 0 <= shown[-1]["val/acc1"] <= 1


def test_a_line_an_epoch(fit, capsys) -> None:
    fit(Lines(HALF, ACC1), enable_progress_bar=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    number = r"\d\.\d{4}"
    for epoch, line in enumerate(lines, start=1):
        head = f"epoch {epoch}/2 step {3 * epoch}"
        assert re.fullmatch(f"{head}, train/loss {number}, val/loss {number}, val/acc1 {number}, density 0.5000", line)
    assert len(lines) == 2


def test_the_one_that_suits_the_output(monkeypatch) -> None:
    for tty, kind in ((True, Bar), (False, Lines)):
        monkeypatch.setattr(sys.stdout, "isatty", lambda tty=tty: tty)
        task = SimpleNamespace(metrics=(ACC1,), parts_of_sample=("tokens", 64))
        assert isinstance(progress(HALF, task, SimpleNamespace(spent={"samples": 0})), kind)
