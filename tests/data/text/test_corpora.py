"""WikiText-103, the Pile and Python's texts: real formats, written by the tests, and what is looked for."""

import ast
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sparseift.data.text.pile import Pile
from sparseift.data.text.python_text import PythonText, docstrings
from sparseift.data.text.tokenizers import Bytes
from sparseift.data.text.wikitext103 import WikiText103
from sparseift.errors import UserError

ARTICLE = " \n = {title} = \n \n A text = of one line . \n = = A section = = \n More <unk> @-@ text .\n"


@pytest.fixture
def common(tmp_path: Path) -> dict[str, Any]:
    sizes = {"vocab_size": 257, "context_length": 8, "batch_size": 2, "num_workers": 0, "seed": 0}
    root = tmp_path / "data"
    root.mkdir()
    return {"tokenizer": Bytes(), "cache": str(tmp_path / "tokens"), "root": str(root), "url": "https://x.org", **sizes}


def documents(data: Any, split: str) -> list[str]:
    tokens = data._prepared[0][split].mapped().tolist()
    return bytes(token if token < 256 else 0 for token in tokens).decode().split("\0")[:-1]


def write_wikitext(folder: Path, kind: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, titles in {"train": "ABC", "valid": "DE", "test": "F"}.items():
        (folder / f"wiki.{name}.{kind}").write_text("".join(ARTICLE.format(title=title) for title in titles))


@pytest.mark.parametrize(("kind", "folder"), [("raw", ""), ("raw", "wikitext-103-raw"), ("tokens", "wikitext-103")])
def test_wikitext(common: dict[str, Any], kind: str, folder: str) -> None:
    write_wikitext(Path(common["root"]) / folder, kind)
    data = WikiText103(**common, download=False)
    first, *others = documents(data, "train")
    assert len(others) == 2 and first.startswith(" = A = \n") and others[0].startswith(" = B = \n")
    assert "".join([first, *others]).count(" = = A section = = ") == 3
    assert [len(documents(data, split)) for split in ("val", "test")] == [2, 1]
    data.setup("fit")
    assert data.validates


def test_wikitext_is_downloaded_and_unpacked(common: dict[str, Any], tmp_path: Path) -> None:
    write_wikitext(tmp_path / "made" / "wikitext-103-raw", "raw")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((tmp_path / "made").rglob("*.raw")):
            packed.write(path, path.relative_to(tmp_path / "made"))
    with patch("sparseift.data.download.urlopen", lambda url, timeout: Answer(archive.getvalue())):
        assert len(documents(WikiText103(**common, download=True), "train")) == 3


class Answer(io.BytesIO):
    def __init__(self, content: bytes, length: int | None = None):
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if length is None else length)}


def write_pile(root: Path, pack: Callable[[bytes], bytes], ending: str) -> None:
    (root / "train").mkdir()
    for name, numbers in {"train/00": range(5), "train/01": range(5, 7), "val": [7, 8], "test": [9]}.items():
        rows = [json.dumps({"text": f"text {n}\nof two lines", "meta": {"pile_set_name": "x"}}) for n in numbers]
        (root / f"{name}{ending}").write_bytes(pack("\n".join(rows).encode() + b"\n"))


@pytest.mark.parametrize("ending", [".jsonl.zst", ".jsonl"])
def test_pile(common: dict[str, Any], ending: str) -> None:
    pack = pytest.importorskip("zstandard").compress if ending.endswith("zst") else bytes
    write_pile(Path(common["root"]), pack, ending)
    one = Pile(**common, train_files=["train/00.jsonl.zst"], download=False)
    assert documents(one, "train") == [f"text {n}\nof two lines" for n in range(5)]
    assert documents(one, "val") == ["text 7\nof two lines", "text 8\nof two lines"]
    both = Pile(**common, train_files=[f"train/*{ending}"], download=False)
    assert len(documents(both, "train")) == 7 and len(documents(both, "test")) == 1


def test_missing_files_of_the_pile_are_downloaded(common: dict[str, Any], tmp_path: Path) -> None:
    pack = pytest.importorskip("zstandard").compress
    (tmp_path / "there").mkdir()
    write_pile(tmp_path / "there", pack, ".jsonl.zst")
    asked = []

    def answer(url: str, timeout: float) -> Answer:
        asked.append(url)
        return Answer((tmp_path / "there" / url.removeprefix("https://x.org/")).read_bytes())

    options = {"train_files": ["train/01.jsonl.zst"], "download": True}
    with patch("sparseift.data.download.urlopen", answer):
        assert len(documents(Pile(**common, **options), "train")) == 2
        Pile(**common, **options).prepare_data()
    assert asked == [f"https://x.org/{name}.jsonl.zst" for name in ("val", "test", "train/01")]


def test_a_download_that_ends_early_leaves_nothing(common: dict[str, Any]) -> None:
    with (
        patch("sparseift.data.download.urlopen", lambda url, timeout: Answer(b"half", length=8)),
        pytest.raises(
            UserError, match=r"cannot be downloaded \(https://x\.org/val\.jsonl\.zst ended after 4 of 8 bytes\)"
        ),
    ):
        Pile(**common, train_files=["train/00.jsonl.zst"], download=True).prepare_data()
    assert [path.name for path in Path(common["root"]).iterdir()] == [".download.lock"]


def test_what_is_looked_for(common: dict[str, Any]) -> None:
    with pytest.raises(
        UserError, match=r"^no wiki\.train\.raw, wiki\.valid\.raw and wiki\.test\.raw, or \.tokens, in "
    ):
        WikiText103(**common, download=False).prepare_data()
    pile = {"train_files": ["train/00.jsonl.zst"]}
    with pytest.raises(UserError, match=r"^no val\.jsonl\.zst or val\.jsonl in .*; set dataset\.root"):
        Pile(**common, **pile, download=False).prepare_data()
    with patch("sparseift.data.download.urlopen", side_effect=OSError("no network")):
        with pytest.raises(UserError, match=r"^WikiText-103 \(wiki\.train\.raw, .*cannot be downloaded \(no network\)"):
            WikiText103(**common, download=True).prepare_data()
        with pytest.raises(UserError, match=r"^the Pile \(val\.jsonl\.zst, .*cannot be downloaded \(no network\)"):
            Pile(**common, **pile, download=True).prepare_data()


def test_docstrings_in_the_order_of_the_file(tmp_path: Path) -> None:
    method = '    def f(self):\n        """First.\n\n        More."""\n'
    source = 'r"""Module \\d."""\nclass A:\n    """Class."""\n'
    (tmp_path / "mine.py").write_text(f"{source}{method}def g(): 1\n")
    assert docstrings(tmp_path / "mine.py") == "mine\nModule \\d.\n\nA\nClass.\n\nf\nFirst.\n\nMore."


def test_python_s_texts(common: dict[str, Any]) -> None:
    from pydoc_data.topics import topics

    del common["root"], common["url"]
    data = PythonText(**common, val_fraction=0.05, test_fraction=0.05, split_seed=0)
    texts = [text for _, text in data.documents()]
    assert set(topics.values()) <= set(texts) and 1e6 < sum(map(len, texts)) < 1e7
    assert any(ast.get_docstring(ast.parse(Path(json.__file__).read_text())) in text for text in texts)
