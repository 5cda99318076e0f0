"""The arguments of sparseift.train by which a run is made again, in a process of its own or by whoever reads of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def config_folders(hydra: Mapping[str, Any]) -> Iterator[str]:
    """What gave folders of configs besides the package's own. hydra: Hydra's own config of a run."""
    for source in hydra["runtime"]["config_sources"]:
        if source["provider"] == "command-line":
            yield from ("--config-dir", source["path"])
    yield from (override for override in hydra["overrides"]["hydra"] if override.startswith("hydra.searchpath="))


def of_one_run(overrides: Iterable[str]) -> list[str]:
    """The overrides of a job without those that are for its sweep."""
    return [override for override in overrides if not override.startswith("sweep.")]


def run_in(folder: Path | str) -> str:
    """The override by which a run works in this folder, quoted where Hydra wants it."""
    path = str(folder)
    if not re.fullmatch(r"[\w/.+: -]+", path, re.ASCII):
        path = "'" + path.replace("'", r"\'") + "'"
    return f"hydra.run.dir={path}"
