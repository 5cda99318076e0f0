"""What is shown while a run trains."""

import re
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from sparseift.tasks import Classification, LanguageModelling
from sparseift.training.callbacks import progress
from sparseift.training.callbacks.progress import Bar, Lines

pytestmark = pytest.mark.filterwarnings("ignore")
HALF = SimpleNamespace(density=0.5)
ACC1 = Classification.metrics[0]
CLASSIFICATION = Classification(num_classes=3, channels=1, image_size=2, label_smoothing=0.0)


def test_the_speed_of_training_in_the_units_of_the_task(monkeypatch) -> None:
    clock, spent = [100.0], {"samples": 0}
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *_: {"train/loss": 1.0, "v_num": 0})
    task = LanguageModelling(vocab_size=9, context_length=64)
    bar, trainer = Bar(HALF, task, SimpleNamespace(spent=spent)), SimpleNamespace(training=True)
    assert bar.get_metrics(trainer, None).keys() == {"loss", "density"}
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
    fit(Bar(HALF, CLASSIFICATION, SimpleNamespace(spent={"samples": 0})))
    assert shown[-1].keys() == {"loss", "val/acc1", "density"}
    assert shown[-1]["density"] == "0.5"
    assert 0 <= shown[-1]["val/acc1"] <= 1


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        (CLASSIFICATION, {"val/acc1": 0.12345, "val/acc5": 0.54321}),
        (LanguageModelling(vocab_size=9, context_length=64), {"val/perplexity": 12.345678, "val/bits_per_byte": 1.234}),
    ],
)
def test_the_bar_is_a_line_of_100_columns_and_counts_epochs_as_the_lines_do(task, metrics, monkeypatch, fit) -> None:
    """The widest line of a run of 200 epochs of 390 steps."""
    monkeypatch.setattr(RichProgressBar, "get_metrics", lambda *_: {"train/loss": 12.345678, **metrics})
    monkeypatch.setattr(Bar, "_speed", lambda *_: {"samples/s": "12,345"})
    printed = StringIO()
    options = {"file": printed, "width": 100, "force_terminal": True, "color_system": None, "legacy_windows": False}
    bar = Bar(SimpleNamespace(density=0.2499), task, SimpleNamespace(spent={"samples": 0}))
    bar._console_kwargs = options
    shown = []

    class Show(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, *_) -> None:
            shown.append(bar.train_progress_bar.description)

        def on_train_batch_end(self, trainer: pl.Trainer, *_) -> None:
            bar.progress.update(bar.train_progress_bar_id, total=390, completed=389, description="epoch 123/200")
            bar.progress.refresh()

    fit(bar, Show(), limit_val_batches=0)
    assert shown == ["epoch 1/2", "epoch 2/2"]
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in re.split(r"[\r\n]", printed.getvalue())]
    first = next(iter(metrics))
    whole = rf"epoch 123/200 \S+ 389/390 \S+ +loss: 12.35 {first}: 0?\S+ density: 0.25 samples/s: 12,345"
    assert any(re.fullmatch(whole, line) for line in lines), lines[-5:]


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
