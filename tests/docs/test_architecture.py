"""docs/architecture.md is correct: its tables, interfaces, file names and links are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ..test_layering import METHOD, ROOMS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "sparseift"
TEXT = (ROOT / "docs" / "architecture.md").read_text()
BASES = {
    "Member": "members/base.py",
    "Sparsifier": "sparsifiers/base.py",
    "Pattern": "masks/patterns/base.py",
    "Backend": "backends/base.py",
    "Task": "tasks/base.py",
}


def rows(header: str) -> list[list[str]]:
    """The cells of the table with this first header cell."""
    table = re.search(rf"^\| {re.escape(header)} \|.*\n\|[-:| ]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def methods(tree: ast.AST, name: str) -> set[str]:
    """The public names that a class defines."""
    (found,) = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    defined = {node.name for node in found.body if isinstance(node, ast.FunctionDef)}
    defined |= {node.target.id for node in found.body if isinstance(node, ast.AnnAssign)}
    return {one for one in defined if one == "__call__" or not one.startswith("_")}


def test_packages_import_what_the_table_says() -> None:
    method = METHOD.split()
    listed = {}
    for package, _, imports in rows("package"):
        allowed = set(quoted(imports)) | (set(method) if "*method*" in imports else set())
        listed[quoted(package)[0].strip("/")] = allowed
    assert listed == {name: set(ROOMS[name].split()) for name in listed}
    assert set(listed) == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(list(listed)[list(listed).index("sparsifiers") : list(listed).index("graph") + 1]) == set(method)


@pytest.mark.parametrize("row", rows("to add a"), ids=lambda row: row[0])
def test_examples_exist_and_are_as_long_as_said(row: list[str]) -> None:
    _, code, config, example, lines = row
    names = [name for name in quoted(example) if "." in name]
    paths = [ROOT / quoted(folder)[0] / name for folder, name in zip((code, config), names, strict=True)]
    if quoted(example)[0] in names:
        assert lines == " + ".join(str(len(path.read_text().splitlines())) for path in paths)
    else:  # a class in a file of several
        tree = ast.parse(paths[0].read_text())
        (found,) = [node for node in ast.walk(tree) if getattr(node, "name", "") == quoted(example)[0]]
        first = min(node.lineno for node in [found, *found.decorator_list])
        assert lines == f"{found.end_lineno - first + 1} + {len(paths[1].read_text().splitlines())}"


@pytest.mark.parametrize("name", BASES)
def test_interfaces(name: str) -> None:
    assert f"**{name}** (`sparseift/{BASES[name]}`)" in TEXT
    real = methods(ast.parse((PACKAGE / BASES[name]).read_text()), name)
    shown = re.search(rf"```python\n(class {name}\(.*?)```", TEXT, re.DOTALL)
    if shown:
        assert methods(ast.parse(shown[1]), name) == real
    else:
        text = TEXT.partition(f"**{name}** (")[2].partition("\n\n")[0]
        assert {word for word in quoted(text) if re.fullmatch(r"[a-z_]+", word)} - {"mask_gradients"} <= real


def test_files_and_links_exist() -> None:
    links = [ROOT / "docs" / target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", TEXT)]
    files = [ROOT / name for name in quoted(TEXT) if re.match(r"(sparseift|conf|scripts|tests)/[\w./]*$", name)]
    files += [PACKAGE / name for name in quoted(TEXT) if re.match(r"(runs|training)/[\w/]+\.py$", name)]
    assert len(links) > 3 and len(files) > 20
    assert not [path for path in [*links, *files] if not path.exists()]
