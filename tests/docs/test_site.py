"""The documentation site: its examples in Python, its tables of choices, its public names, and a build of it."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import sparseift
from sparseift.app.overrides import config_folder

from ..e2e.programs import environment
from .pages import BLOCKS, DOCS, ROOT, table

API = {path: path.read_text() for path in sorted((DOCS / "api").glob("*.md"))}
WITH_PYTHON = sorted({block.page for block in BLOCKS if block.language == "pycon"})


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_examples_print_what_the_page_says(page: Path) -> None:
    code = "\n".join(block.code for block in BLOCKS if block.page == page and block.language == "pycon")
    test = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
    report: list[str] = []
    failed, tried = doctest.DocTestRunner().run(test, out=report.append)
    assert tried and not failed, "".join(report)


@pytest.mark.parametrize(
    ("page", "group"),
    [
        ("sparsifiers.md", "sparsifier"),
        ("sparsifiers.md", "pattern"),
        ("sparsifiers.md", "sparsity"),
        ("datasets.md", "dataset"),
        ("training.md", "callbacks"),
    ],
)
def test_tables_have_all_choices(page: str, group: str) -> None:
    listed = {name for cell in table(page, f"`{group}=`") for name in cell.split()}
    assert listed == {path.stem for path in (config_folder() / group).glob("*.yaml")}


def test_intervals_of_the_sparsifiers() -> None:
    """The table of sparsifiers has the default intervals of the configs."""
    for name, cells in table("sparsifiers.md", "`sparsifier=`").items():
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            settings = compose("train", [f"sparsifier={name}"]).sparsifier
        said = re.search(r"every (\d+) steps", cells[2])
        assert (said and int(said[1])) == settings.get("update_interval")


def test_api_reference_has_every_public_name() -> None:
    text = "\n".join(API.values())
    for name in sparseift.__all__:
        home = importlib.import_module(f"sparseift.{sparseift.HOMES[name].partition('.')[0]}")
        documented = re.search(rf"auto\w+:: {name}\b", text) or f"automodule:: {home.__name__}\n" in text
        assert documented, name
    modules = re.findall(r"automodule:: (\S+)", text)
    assert len(modules) > 8 and all(importlib.import_module(module).__all__ for module in modules)


def test_pages_are_listed() -> None:
    listed = {
        (page.parent / f"{name}.md").resolve()
        for page in [*DOCS.glob("*.md"), *API]
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text(), re.M | re.S)
        for name in tree.split()
        if (page.parent / f"{name}.md").exists()
    }
    assert {*DOCS.glob("*.md"), *API} - listed == {DOCS / "index.md"}


def test_the_readme_is_short() -> None:
    """What is longer belongs on a page of docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_site_builds_without_warnings(tmp_path) -> None:
    """With links that lead nowhere as warnings."""
    pytest.importorskip("furo")
    pytest.importorskip("myst_parser")
    pytest.importorskip("sphinx_copybutton")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", str(tmp_path / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, "docs", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    home = (tmp_path / "site" / "index.html").read_text()
    assert "FLOPs of the dense network" in home
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    missing = {
        f"{page}: {target}"
        for page in pages
        for target in re.findall(r'(?:href|src)="([^"#:?]+)["#?]', (tmp_path / "site" / page).read_text())
        if not (tmp_path / "site" / page).parent.joinpath(target).exists()
    }
    assert not missing
