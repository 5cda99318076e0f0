"""The figures in docs/ are up to date with scripts/draw_family."""

import re
import subprocess
import sys

import pytest

from ..e2e.programs import environment
from .pages import ROOT

pytest.importorskip("matplotlib")


def drawn(svg: str) -> list[str]:
    """All labels, and the outlines of all shapes but letters, which differ between versions of matplotlib."""
    return re.findall(r"<!-- .*? -->", svg) + re.findall(r'<g id="(?:patch|line2d)_\d+">\s*<path d="([^"]*)"', svg)


def test_figure_is_up_to_date(tmp_path):
    subprocess.run([sys.executable, ROOT / "scripts" / "draw_family", tmp_path], env=environment(), check=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["family-dark.svg", "family-light.svg"]
    for name in names:
        new, committed = drawn((tmp_path / name).read_text()), drawn((ROOT / "docs" / name).read_text())
        assert len(new) > 60
        assert new == committed
