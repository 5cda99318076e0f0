"""Layers that globs of names select."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from ..errors import UserError
from .checks import require


def matching(key: str, globs: Any, names: Sequence[str]) -> list[str]:
    """The names of layers that at least one glob matches, in the order of `names`.

    Args:
        key: What the user sets, as a dotted key of the config where there is one.
        globs: One glob or several.

    Raises:
        UserError: The value is not a list of globs, or one of them matches no name.
    """
    globs = [globs] if isinstance(globs, str) else globs
    fits = not isinstance(globs, dict) and hasattr(globs, "__iter__") and all(isinstance(glob, str) for glob in globs)
    require(fits, key, globs, "a list of names or globs, such as [layer1.*]")
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            near = get_close_matches(glob, names, n=3, cutoff=0.4) or names[:3]
            raise UserError(f"{key}: no layer matches '{glob}'; layers are named like {', '.join(near)}")
    return [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]
