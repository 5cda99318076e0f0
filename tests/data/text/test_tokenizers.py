"""Tokenizers: what they decode is what they encoded, and what they cannot read is refused in one line."""

import json
import sys
from pathlib import Path

import pytest

from sparseift.data.text.tokenizers import BPE, Bytes, Saved
from sparseift.errors import UserError

TEXTS = [f"the number {number} of the texts, and ünïcödé 日本語 \t\n" for number in range(50)]


def none() -> list[str]:
    pytest.fail("trained again")


def test_bytes(tmp_path: Path) -> None:
    encoder = Bytes().encoder(tmp_path, none)
    assert (encoder.vocab_size, encoder.end) == (257, 256)
    assert encoder.encode(["aé", ""]) == [[97, 195, 169], []]
    assert encoder.decode([97, 195, 169, 256, 195]) == "aé<|endoftext|>\ufffd"


@pytest.fixture
def bpe(tmp_path: Path) -> Path:
    pytest.importorskip("tokenizers")
    BPE(300).encoder(tmp_path, lambda: TEXTS)
    return tmp_path / "tokenizer.json"


def test_bpe_is_trained_once_and_loses_nothing(bpe: Path) -> None:
    encoder = BPE(300).encoder(bpe.parent, none)
    other = "words that it has not seen: zßø 🙂\x00\x07"
    for text in (*TEXTS, other):
        (tokens,) = encoder.encode([text])
        assert encoder.decode(tokens) == text and max(tokens) < encoder.vocab_size == 300
        assert encoder.end not in tokens
    (tokens,) = encoder.encode([TEXTS[0]])
    assert len(tokens) < len(TEXTS[0].encode()) / 2


def test_bpe_is_the_same_every_time(bpe: Path, tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("other")
    BPE(300).encoder(other, lambda: TEXTS)
    assert (other / "tokenizer.json").read_bytes() == bpe.read_bytes()


def test_the_text_of_the_end_is_no_end(bpe: Path) -> None:
    """Documents may contain it. It is then the token, as in GPT-2's own code, and decodes to itself."""
    encoder = Saved(str(bpe)).encoder(bpe.parent, none)
    (tokens,) = encoder.encode(["a<|endoftext|>b"])
    assert encoder.decode(tokens) == "a<|endoftext|>b"


def test_a_saved_tokenizer_and_its_settings(bpe: Path) -> None:
    saved = Saved(str(bpe))
    before = saved.settings()
    trained = BPE(300).encoder(bpe.parent, none)
    assert saved.encoder(bpe.parent, none).encode(TEXTS) == trained.encode(TEXTS)
    bpe.write_text(bpe.read_text() + "\n")
    assert saved.settings() != before


def test_padding_and_truncation_of_the_file_are_off(bpe: Path) -> None:
    content = json.loads(bpe.read_text())
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    bpe.write_text(json.dumps(content))
    encoder = Saved(str(bpe)).encoder(bpe.parent, none)
    assert encoder.decode(encoder.encode(TEXTS)[0]) == TEXTS[0]


def test_what_cannot_be_used(bpe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^dataset\.tokenizer\.path is None; expected a tokenizer\.json"):
        Saved(None)
    with pytest.raises(UserError, match=r"^dataset\.tokenizer\.path is .*nowhere\.json'; expected a tokenizer\.json"):
        Saved(str(tmp_path / "nowhere.json")).settings()
    with pytest.raises(UserError, match=r"end_of_text is '</s>'; expected a token of "):
        Saved(str(bpe), end_of_text="</s>").encoder(tmp_path, none)
    with pytest.raises(UserError, match=r"^dataset\.vocab_size is 256; expected an integer >= 257$"):
        BPE(256)
    bpe.write_text("{}")
    with pytest.raises(UserError, match=r"is not a tokenizer\.json of the library tokenizers: "):
        Saved(str(bpe)).encoder(tmp_path, none)


def test_without_the_library(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"needs the package tokenizers, which is not installed: pip install"):
        BPE(300).encoder(tmp_path, lambda: TEXTS)
