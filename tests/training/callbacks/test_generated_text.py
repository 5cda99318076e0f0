"""Generated text: when, where it is written, and that training does not notice."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from sparseift.data.text.tokenizers import ByteEncoder
from sparseift.errors import UserError
from sparseift.models import GPT
from sparseift.runs.generated import read_generated
from sparseift.training.callbacks import GeneratedText
from sparseift.training.loggers.tensorboard import TensorBoard

DATA = SimpleNamespace(encoder=ByteEncoder(), context_length=8, seed=0)


class Both(nn.Module):
    """Classifies images, and continues text."""

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3))
        self.text = GPT(257, 8, layers=1, width=8, heads=1, dropout=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.text(x) if x.dtype == torch.int64 else self.images(x)


class WithData(GeneratedText):
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.data = DATA


def callback(**changes: object) -> WithData:
    options = {"prompts": ["ab", ""], "tokens": 12, "temperature": 1.0, "every_n_steps": 2}
    return WithData(**{**options, **changes})


@pytest.mark.filterwarnings("ignore")
def test_texts_of_chosen_steps_and_of_the_end(fit: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    """Of 6 steps."""
    torch.manual_seed(0)
    fit(callback(every_n_steps=4), net=Both())
    texts = json.loads((tmp_path / "generated.json").read_text())
    assert [(text["step"], text["prompt"]) for text in texts] == [(4, "ab"), (4, ""), (6, "ab"), (6, "")]
    assert texts == read_generated(tmp_path) and all(text["text"] for text in texts)


@pytest.mark.filterwarnings("ignore")
def test_training_is_the_same_without_it(fit: Callable[..., pl.Trainer]) -> None:
    nets = []
    for callbacks in ([], [callback()]):
        torch.manual_seed(0)
        nets.append(Both())
        fit(*callbacks, net=nets[-1])
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.filterwarnings("ignore")
def test_texts_in_tensorboard(fit: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(callback(), net=Both(), logger=TensorBoard(tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"generated/0/text_summary", "generated/1/text_summary"} <= set(events.Tags()["tensors"])
    shown = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("generated/0/text_summary")]
    texts = [text["text"] for text in read_generated(tmp_path) if text["prompt"] == "ab"]
    assert [text.replace("\n    ", "\n") for text in shown] == [f"    ab{text}" for text in texts]


def test_a_resumed_run_has_the_earlier_texts() -> None:
    first, second = callback(), callback()
    first.texts = [{"step": 2, "prompt": "ab", "text": "c"}]
    second.load_state_dict(first.state_dict())
    assert second.texts == first.texts


def test_what_does_not_fit() -> None:
    for changes, message in (
        ({"prompts": []}, r"prompts is \[\]; expected a list of texts"),
        ({"tokens": 0}, "tokens is 0; expected an integer >= 1"),
        ({"temperature": -1}, "temperature is -1; expected a number >= 0"),
    ):
        with pytest.raises(UserError, match=f"^callbacks.generated_text.{message}$"):
            callback(**changes)
    trainer = SimpleNamespace(datamodule=pl.LightningDataModule())
    with pytest.raises(UserError, match=r"is 'LightningDataModule'; expected a data set of text$"):
        GeneratedText(["a"], 1, 0, 1).on_fit_start(trainer, None)


@pytest.mark.parametrize("content", [{"step": 1}, [1, {"step": 1}, {"step": "1", "prompt": "", "text": ""}], None])
def test_entries_of_another_form_are_left_out(tmp_path: Path, content: object) -> None:
    (tmp_path / "generated.json").write_text(json.dumps(content))
    assert read_generated(tmp_path) == []
