"""Arguments of sparseift.train that reproduce a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def config_folders(hydra: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arguments that add folders of configs to the package's own.

    Args:
        hydra: The node `hydra` of the config.
    """
    for source in hydra["runtime"]["config_sources"]:
        if source["provider"] == "command-line":
            yield from ("--config-dir", source["path"])
    yield from (override for override in hydra["overrides"]["hydra"] if override.startswith("hydra.searchpath="))


def of_one_run(overrides: Iterable[str]) -> list[str]:
    """Return the overrides of a job without those that configure its sweep."""
    return [override for override in overrides if not override.startswith("sweep.")]


def run_in(folder: Path | str) -> str:
    """Return the override that sets the folder of a run, quoted where Hydra's grammar requires it."""
    path = str(folder)
    if not re.fullmatch(r"[\w/.+: -]+", path, re.ASCII):
        path = "'" + path.replace("'", r"\'") + "'"
    return f"hydra.run.dir={path}"
