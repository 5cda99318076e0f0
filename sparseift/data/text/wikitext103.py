"""WikiText-103 (Merity et al. 2016): Wikipedia articles."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..download import download_into, fetched
from .base import TextData
from .files import described

FILES = {"train": "wiki.train", "val": "wiki.valid", "test": "wiki.test"}
KINDS = ("raw", "tokens")
FOLDERS = {"raw": "wikitext-103-raw", "tokens": "wikitext-103"}
"""The folders of the two archives: the original text, and the text with rare words replaced by <unk>."""

TITLE = re.compile(r" = [^=]+ = \n?")
"""The line with which an article begins. Headings of its sections have more equality signs."""


class WikiText103(TextData):
    """The articles of WikiText-103, each a document, in the three splits of the authors.

    Args:
        root: Folder of wiki.train.raw, wiki.valid.raw and wiki.test.raw, or of the same files that end in .tokens, or
            the folder that contains the unpacked archive.
        download: Whether to download the archive if the files are missing.
        url: Address of the archive wikitext-103-raw-v1.zip.
        common: Arguments of `TextData`.
    """

    def __init__(self, *, root: str, download: bool, url: str, **common: Any) -> None:
        super().__init__(val_fraction=0.0, test_fraction=None, split_seed=0, **common)
        self.root, self.download, self.url = Path(root).expanduser().resolve(), download, url

    def source(self) -> Any:
        if self._find() is None and self.download:
            names = ", ".join(f"{name}.raw" for name in FILES.values())
            download_into(self.root, f"WikiText-103 ({names})", self._fetch, f"put the files of {self.url} there")
        return {"files": described(self._paths().values())}

    def documents(self) -> Iterator[tuple[str | None, str]]:
        for split, path in self._paths().items():
            try:
                with path.open(encoding="utf-8", newline="\n") as file:
                    yield from ((split, text) for text in articles(file))
            except UnicodeDecodeError as error:
                raise UserError(f"{path} is not UTF-8 text: {error}") from error

    def _fetch(self) -> None:
        archive = self.root / "wikitext-103-raw-v1.zip"
        fetched(self.url, archive)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(self.root)

    def _find(self) -> dict[str, Path] | None:
        for kind in KINDS:
            for folder in (self.root, self.root / FOLDERS[kind]):
                paths = {split: folder / f"{name}.{kind}" for split, name in FILES.items()}
                if all(path.is_file() for path in paths.values()):
                    return paths
        return None

    def _paths(self) -> dict[str, Path]:
        paths = self._find()
        if paths is None:
            raise UserError(
                f"no wiki.train.raw, wiki.valid.raw and wiki.test.raw, or .tokens, in {self.root} or its "
                "wikitext-103-raw or wikitext-103; set dataset.root to their folder, or dataset.download=true"
            )
        return paths


def articles(lines: Iterable[str]) -> Iterator[str]:
    """Yield the articles in the lines of a file. Text before the first title is an article of its own."""
    article: list[str] = []
    for line in lines:
        if TITLE.fullmatch(line) and article:
            yield "".join(article)
            article = []
        article.append(line)
    if article:
        yield "".join(article)
