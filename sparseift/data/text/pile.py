"""The Pile (Gao et al. 2020): JSON lines, compressed by Zstandard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...common.checks import require
from ...errors import UserError
from ..download import download_into, fetched
from .base import TextData
from .files import described, documents_in, files_of

ENDINGS = (".jsonl.zst", ".jsonl")


class Pile(TextData):
    """Documents of the Pile, in its three splits. It has 30 training files of about 10 billion tokens each.

    Args:
        root: Folder of val.jsonl.zst, test.jsonl.zst and train/, or of these files without .zst.
        train_files: Names or globs of training files in `root`, such as train/00.jsonl.zst.
        download: Whether to download missing files. A glob is not downloaded.
        url: Address of the folder of the files.
        common: Arguments of `TextData`.
    """

    def __init__(self, *, root: str, train_files: Sequence[str], download: bool, url: str, **common: Any) -> None:
        super().__init__(val_fraction=0.0, test_fraction=None, split_seed=0, **common)
        self.root, self.train_files = Path(root).expanduser().resolve(), train_files
        self.download, self.url = download, url

    def source(self) -> Any:
        wanted = ("val.jsonl.zst", "test.jsonl.zst", *(name for name in self.train_files if "*" not in name))
        missing = [name for name in wanted if self._find(name) is None]
        if missing and self.download:
            what, instead = f"the Pile ({', '.join(missing)})", "put it there, or set dataset.root to its folder"
            download_into(self.root, what, lambda: self._fetch(missing), instead)
        return {"files": {split: described(paths) for split, paths in self._paths().items()}}

    def documents(self) -> Iterator[tuple[str | None, str]]:
        for split, paths in self._paths().items():
            for path in paths:
                yield from ((split, text) for text in documents_in(path))

    def _fetch(self, names: Sequence[str]) -> None:
        for name in names:
            fetched(f"{self.url}/{name}", self.root / name)

    def _find(self, name: str) -> Path | None:
        stem = next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)
        paths = (self.root / f"{stem}{ending}" for ending in ENDINGS)
        return next((path for path in paths if path.is_file()), None)

    def _paths(self) -> dict[str, list[Path]]:
        paths = {}
        for split in ("val", "test"):
            if (path := self._find(split)) is None:
                raise UserError(
                    f"no {split}.jsonl.zst or {split}.jsonl in {self.root}; set dataset.root to the Pile's folder, "
                    "or dataset.download=true"
                )
            paths[split] = [path]
        require(len(self.train_files) > 0, "dataset.train_files", self.train_files, "names or globs of files")
        training = [found or self.root / name for name in self.train_files for found in [self._find(name)]]
        return {"train": files_of("dataset.train_files", [str(path) for path in training]), **paths}
