"""The texts that come with every Python."""

from __future__ import annotations

import ast
import platform
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...common.checks import require
from .base import TextData

LEFT_OUT = ("site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "pydoc_data", "__pycache__")
"""Folders of the standard library that hold other packages or tests."""


class PythonText(TextData):
    """The topics of `pydoc` and the docstrings of the standard library of the running Python, about 2 MB.

    Each topic and each module is a document. They differ between versions of Python; results.json has their hash.
    """

    def source(self) -> Any:
        return {"python": platform.python_implementation() + " " + sys.version.split("[")[0].strip()}

    def documents(self) -> Iterator[tuple[str | None, str]]:
        from pydoc_data.topics import topics

        yield from ((None, topics[name]) for name in sorted(topics))
        folder = Path(sysconfig.get_path("stdlib"))
        modules = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
        require(bool(modules), "the standard library", str(folder), "a folder of Python files; choose dataset=text")
        for name in modules:
            if not set(Path(name).parts).intersection(LEFT_OUT):
                yield None, docstrings(folder / name)


def docstrings(path: Path) -> str:
    """Return the docstrings in a file of Python, in their order, each after the name of what it describes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in the source
        tree = ast.parse(path.read_bytes())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    parts = [(node, ast.get_docstring(node)) for node in ast.walk(tree) if isinstance(node, kinds)]
    ordered = sorted((part for part in parts if part[1]), key=lambda part: getattr(part[0], "lineno", 0))
    return "\n\n".join(f"{getattr(node, 'name', path.stem)}\n{text}" for node, text in ordered)
