"""The help page: every config group and its choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import hydra
from omegaconf import DictConfig, OmegaConf

from .hydra_versions import VERSION_BASE
from .overrides import choices_of, config_folder


def known_keys() -> Iterator[str]:
    """Yield every dotted key of the default config."""
    with hydra.initialize_config_dir(str(config_folder()), **VERSION_BASE):
        pending: list[tuple[str, Any]] = [("", OmegaConf.to_container(hydra.compose("train"), resolve=False))]
    while pending:
        prefix, node = pending.pop()
        for key, value in node.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                pending.append((f"{prefix}{key}.", value))


def groups() -> list[Path]:
    """Return the folders of the config groups."""
    folder = config_folder()
    own = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in ("shared", "hydra"))
    return [*own, folder / "hydra" / "launcher"]


def _names_of_groups(folders: Sequence[Path]) -> list[str]:
    """The groups of the package, and those that other folders of configs add: a folder with configs in it."""
    names = [group.relative_to(config_folder()).as_posix() for group in groups()]
    added = (path.parent.name for folder in folders for path in sorted(folder.glob("*/*.yaml")))
    return [*names, *(name for name in dict.fromkeys(added) if name not in names)]


def help_page(description: str, folders: Sequence[Path] = ()) -> str:
    """Return a page of all groups and choices, with the first comment and the `override` entries of each file.

    Args:
        folders: Folders of configs besides the package's own.
    """
    lines = [description, "", "Choices, GROUP=CHOICE (defaults are in conf/train.yaml):", ""]
    roots = (*folders, config_folder())
    for name in _names_of_groups(folders):
        choices: dict[str, Path] = {}
        for root in roots:  # Hydra takes a choice from the first folder that has it
            choices = choices_of(root / name) | choices
        lines.append(f"  {name}")
        width = max(map(len, choices)) + 2
        for choice, file in choices.items():
            lines.append(f"    {choice:<{width}}{summary(file)}")
            if others := ", ".join(f"{key}: {value}" for key, value in sorted(sets(file).items())):
                lines.append(f"    {'':<{width}}sets {others}")
    lines += [
        "",
        "Any value of the composed config can be overridden: sparsity=0.9 recipe.epochs=50 dataset.batch_size=256",
        "  --cfg job         print the whole composed config",
        "  -m, --multirun    run every combination of comma-separated values: -m sparsity=0.5,0.75,0.9 seed=0,1,2",
        "  --hydra-help      Hydra's own options",
    ]
    return "\n".join(lines)


def sets(file: Path) -> dict[str, str]:
    """Return the choices of other groups that a file makes, itself or by a file in its defaults list."""
    own: dict[str, str] = {}
    named = []
    for entry in cast(DictConfig, OmegaConf.load(file)).get("defaults", []):
        if isinstance(entry, str):
            named.append(entry)
            continue
        [(key, choice)] = entry.items()
        if key.startswith(("override /", "/")) and "@" not in key:
            group = key.removeprefix("override ").removeprefix("/")
            own[group] = str(choice).replace("'", "")
            named.append(f"/{group}/{choice}")
    for name in named:
        folder = config_folder() if name.startswith("/") else file.parent
        other = folder / f"{name.partition('@')[0].lstrip('/')}.yaml"
        own = sets(other) | own if other.is_file() else own
    return own


def summary(file: Path) -> str:
    """Return the first comment of a file."""
    comments = (line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@package")), "")
