"""Bars where someone looks, and nothing at all where no one does."""

import io
import sys

import pytest
import rich
from rich.console import Console

from sparseift.common.console import one_by_one, waiting


@pytest.fixture
def shown(monkeypatch) -> io.StringIO:
    """What is written to a terminal."""
    file = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=file, force_terminal=True))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    return file


def work() -> list[int]:
    with waiting("outer"):
        return [item for item in one_by_one([1, 2, 3], "inner")]


def test_a_bar_in_a_bar(shown) -> None:
    assert work() == [1, 2, 3]
    assert "outer" in shown.getvalue() and "inner" in shown.getvalue()


@pytest.mark.parametrize(("terminal", "rank"), [(False, "0"), (True, "1")])
def test_nothing_for_files_and_other_ranks(shown, monkeypatch, capsys, terminal: bool, rank: str) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert work() == [1, 2, 3]
    assert shown.getvalue() == "" and capsys.readouterr() == ("", "")
