"""Text files as windows of tokens: splits, cache, order, and mistakes."""

import gzip
import json
import pickle
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from sparseift.data.text.cache import SPLITS, dtype_for
from sparseift.data.text.text import Text
from sparseift.errors import Damaged, UserError

Make = Callable[..., Text]


def tokens_of(data: Text, split: str) -> list[int]:
    return data._prepared[0][split].mapped().tolist()


def documents_of(data: Text, split: str) -> list[str]:
    """The documents of a split, read back from its tokens."""
    text = bytes(token if token < 256 else 0 for token in tokens_of(data, split)).decode()
    return text.split("\0")[:-1]


def test_every_document_is_in_one_split_and_ends(text_data: Make, lines: list[str]) -> None:
    data = text_data()
    found = {split: documents_of(data, split) for split in SPLITS}
    assert sorted(chain(*found.values())) == sorted(lines)
    assert 20 <= len(found["val"]) <= 60 and 20 <= len(found["test"]) <= 60
    described = json.loads(next((data.cache).glob("*/tokens.json")).read_text())
    for split in SPLITS:
        saved = described["splits"][split]
        assert saved["documents"] == len(found[split])
        assert saved["bytes"] == sum(len(text.encode()) for text in found[split])
        assert saved["tokens"] == saved["bytes"] + saved["documents"]


def test_the_split_depends_on_text_and_seed_alone(text_data: Make, lines: list[str], tmp_path: Path) -> None:
    before = set(documents_of(text_data(), "test"))
    (tmp_path / "a.txt").write_text("\n".join(reversed(lines)))  # every other document twice, in another order
    assert set(documents_of(text_data(), "test")) == before
    assert set(documents_of(text_data(split_seed=1), "test")) != before


def test_windows_cover_the_tokens_once(text_data: Make, lines: list[str]) -> None:
    data = text_data()
    data.setup("fit")
    train, val = (tokens_of(data, split) for split in ("train", "val"))
    samples, training, validation = data._training
    assert len(training) == (len(train) - 1) // 8 and len(validation) == (len(val) - 1) // 8
    for indices, tokens in ((training, train), (validation, val)):
        for place, index in enumerate(indices.tolist()):
            assert samples[index]["tokens"].tolist() == tokens[8 * place : 8 * place + 9]
    assert samples[0]["split_tokens"] == len(train) and samples[int(validation[0])]["split_tokens"] == len(val)


def test_the_order_depends_on_seed_and_epoch(text_data: Make, lines: list[str]) -> None:
    def order(seed: int, epochs: int) -> list[list[list[int]]]:
        loader = text_data(seed=seed).train_dataloader()
        return [[row for batch in loader for row in batch["tokens"].tolist()] for _ in range(epochs)]

    first, second = order(0, 2)
    assert first != second and sorted(first) == sorted(second)
    assert order(0, 1) == [first] and order(1, 1) != [first]


def test_ranks_share_the_batches_of_one_process(text_data: Make, lines: list[str]) -> None:
    whole = [batch["tokens"] for batch in text_data(batch_size=4).train_dataloader()]
    parts = []
    for rank in range(2):
        with patch("sparseift.data.sampler.rank_and_world", lambda rank=rank: (rank, 2)):
            parts.append([batch["tokens"] for batch in text_data(batch_size=2).train_dataloader()])
    assert len(whole) == len(parts[0]) > 10
    for one, *halves in list(zip(whole, *parts, strict=True))[:-1]:
        assert torch.equal(one, torch.cat(halves))


def test_a_loader_resumes_within_an_epoch(text_data: Make, lines: list[str]) -> None:
    loader = text_data().train_dataloader()
    taken = iter(loader)
    for _ in range(5):
        next(taken)
    state = loader.state_dict()
    rest = [batch["tokens"] for batch in taken]
    again = text_data().train_dataloader()
    again.load_state_dict(state)
    assert all(torch.equal(one, other["tokens"]) for one, other in zip(rest, again, strict=True))


def test_tokens_are_made_once(text_data: Make, lines: list[str]) -> None:
    first = text_data()
    first.prepare_data()
    with patch.object(Text, "documents", lambda self: pytest.fail("read again")):
        again = text_data()
        again.prepare_data()
        assert again.sha256 == first.sha256


def test_changed_files_are_tokenised_again(text_data: Make, lines: list[str], tmp_path: Path) -> None:
    before = text_data().sha256
    (tmp_path / "a.txt").write_text("\n".join(lines[:119]))
    assert text_data().sha256 != before
    assert len(list((tmp_path / "tokens").iterdir())) == 2


def test_a_line_break_can_be_typed(text_data: Make, lines: list[str]) -> None:
    assert text_data(separator=r"\n").sha256 == text_data(separator="\n").sha256


def test_a_killed_tokenisation_is_repeated(text_data: Make, lines: list[str], tmp_path: Path) -> None:
    whole = text_data(cache=str(tmp_path / "other")).sha256
    with (
        patch("sparseift.data.text.cache.CHARACTERS", 100),
        patch.object(Text, "_split_of", side_effect=[*["train"] * 50, KeyboardInterrupt]),
        pytest.raises(KeyboardInterrupt),
    ):
        text_data().prepare_data()
    assert not list((tmp_path / "tokens").glob("*/tokens.json"))
    assert text_data().sha256 == whole


def test_a_damaged_cache_is_refused(text_data: Make, lines: list[str], tmp_path: Path) -> None:
    text_data().prepare_data()
    (path,) = (tmp_path / "tokens").glob("*/train.bin")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"train\.bin is damaged; delete its folder, and the text is tokenised again$"):
        text_data().prepare_data()


def test_a_cache_of_other_settings_is_refused(text_data: Make, lines: list[str], tmp_path: Path) -> None:
    text_data().prepare_data()
    (folder,) = (tmp_path / "tokens").iterdir()
    text_data(cache=str(folder)).prepare_data()
    with pytest.raises(UserError, match=r"tokenised with val_fraction=0\.2, but this run has 0\.1; expected another"):
        text_data(cache=str(folder), val_fraction=0.1).prepare_data()


def test_the_files_hold_16_bits_if_the_tokens_fit(text_data: Make, lines: list[str]) -> None:
    assert (dtype_for(65_536), dtype_for(65_537)) == ("uint16", "uint32")
    tokens = text_data()._prepared[0]["train"]
    assert tokens.mapped().dtype == np.uint16 and tokens.path.stat().st_size == 2 * tokens.tokens


def test_workers_that_are_started_open_the_files_themselves(text_data: Make, lines: list[str]) -> None:
    samples = text_data().load(train=True)
    first = samples[0]
    content = pickle.dumps(samples)
    assert len(content) < 2000 and torch.equal(pickle.loads(content)[0]["tokens"], first["tokens"])


def test_a_resumed_run_must_have_the_same_tokens(text_data: Make, lines: list[str]) -> None:
    data = text_data()
    data.setup("fit")
    state = {"epoch": 0, "batches_yielded": 1, "samples": data.train_size, "global_batch": 2, "devices": 1}
    data.load_state_dict({**state, "data": data.sha256})
    with pytest.raises(UserError, match=r"^the checkpoint has tokens with SHA-256 0000, but this run has"):
        data.load_state_dict({**state, "data": "0000"})


def test_formats(text_data: Make, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    texts = [f"text {number}\nof two lines, ünd more" for number in range(30)]
    rows = "".join(json.dumps({"text": text, "meta": {}}) + "\n" for text in texts).encode()
    (tmp_path / "rows.jsonl").write_bytes(rows)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(rows))
    frames = [zstandard.compress(part) for part in (rows[:500], rows[500:])]
    (tmp_path / "rows.jsonl.zst").write_bytes(b"".join(frames))
    for name in ("rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst"):
        data = text_data(files=str(tmp_path / name), separator=None)
        assert sorted(chain(*(documents_of(data, split) for split in SPLITS))) == sorted(texts)


@pytest.mark.parametrize("files", [[], "", [3], {"a": 1}])
def test_names_of_files(text_data: Make, files: object) -> None:
    with pytest.raises(UserError, match=r"^dataset\.files is .*; expected a file or glob, such as"):
        text_data(files=files).prepare_data()


def test_no_such_file(text_data: Make, lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.txt'; expected a file or glob that matches at least one file$"):
        text_data(files=[str(tmp_path / "a.txt"), str(tmp_path / "nowhere.txt")]).prepare_data()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "Text has no documents with text$"),
        ("a.txt", b" \n\n ", "Text has no documents with text$"),
        ("a.txt", b"\xff\xfe\x00", "is not UTF-8 text, or is damaged: "),
        ("a.txt.gz", b"not packed", "is not UTF-8 text, or is damaged: "),
        ("a.jsonl", b'{"text": "one"}\n{"tex', "line 2, is not JSON: "),
        ("a.jsonl", b'{"content": "one"}', "line 1, has no 'text'; expected an object with the text of a document$"),
    ],
)
def test_files_without_text(text_data: Make, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        text_data(files=str(tmp_path / name)).prepare_data()


def test_too_few_tokens_for_a_window(text_data: Make, lines: list[str]) -> None:
    with pytest.raises(UserError, match=r"^the number of train tokens is \d+; expected at least 100001, which one"):
        text_data(context_length=100_000).setup("fit")


def test_no_validation(text_data: Make, lines: list[str]) -> None:
    data = text_data(val_fraction=0.0)
    data.setup("fit")
    assert not data.validates and data.val_dataloader() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 300}, "dataset.vocab_size is 300; expected 257, the number of tokens of the tokenizer"),
        (
            {"val_fraction": 0.6, "test_fraction": 0.5},
            r"val_fraction \+ dataset.test_fraction is 1.1; expected a number",
        ),
        ({"test_fraction": 0}, r"dataset.test_fraction is 0; expected a number in \(0, 1\)"),
        ({"context_length": 0}, "dataset.context_length is 0; expected an integer >= 1"),
    ],
)
def test_settings_that_do_not_fit(text_data: Make, lines: list[str], changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        text_data(**changes).prepare_data()
