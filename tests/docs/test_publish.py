"""The pages on notebooks and on published networks: their code runs, and their tables name what there is."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

import sparseift
from sparseift.export import FORMATS

from ..e2e.programs import files, quick
from .pages import DOCS, blocks
from .test_examples import python

NOTEBOOKS, PUBLISH = DOCS / "notebooks.md", DOCS / "publish.md"


def code(page: Path, language: str) -> list[str]:
    return [block.code for block in blocks(page) if block.language == language]


def first_cells(page: Path, header: str) -> set[str]:
    """The words in backticks in the first cells of a table."""
    rows = re.search(rf"^\| {re.escape(header)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)[1]
    return {word for row in rows.splitlines() for word in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.fixture(scope="module")
def published(program, tmp_path_factory) -> Path:
    """A folder with a run and with what the command of the page exports of it."""
    folder = tmp_path_factory.mktemp("published")
    run = quick("member=sparse_wide", "hydra.run.dir=runs/quickstart/sparse_wide")
    assert program("sparseift.train", run, folder).code == 0
    [command] = code(PUBLISH, "bash")
    words = shlex.split(command)
    assert words[:2] == ["sparseift", "export"]
    assert program("sparseift.export", words[2:], folder).code == 0
    return folder


def test_formats() -> None:
    assert first_cells(PUBLISH, "`--format`") == set(FORMATS)


def test_files(published) -> None:
    assert first_cells(PUBLISH, "file") == files(published / "digits-sparse-wide")


def test_the_upload_names_the_folder(published) -> None:
    upload, _ = code(PUBLISH, "python")
    assert 'folder_path="digits-sparse-wide"' in upload and "upload_folder(repo_id=" in upload
    compile(upload, "upload", "exec")


def test_a_published_network_is_loaded(published) -> None:
    _, loading = code(PUBLISH, "python")
    assert re.fullmatch(r"\d \d+% of the masked layers is active\n", python("-c", loading, cwd=published))


def test_the_run_of_the_page(tmp_path) -> None:
    [example] = code(NOTEBOOKS, "python")
    shorter = example.replace("recipe.epochs=3", "recipe.epochs=1").replace("interval=20", "interval=5")
    out = python("-c", shorter, cwd=tmp_path)
    assert re.search(r"^dense [\d.]+ %, sparse wide [\d.]+ %$", out, re.MULTILINE)
    assert re.search(r" 1\.0 python -m sparseift\.train dataset=digits ", out) or " 0.99" in out
    assert len(list(tmp_path.glob("runs/*/results.json"))) == 2


def test_attributes_of_a_run() -> None:
    there = {field.name for field in fields(sparseift.Run)} | set(vars(sparseift.Run))
    assert first_cells(NOTEBOOKS, "attribute") <= there
