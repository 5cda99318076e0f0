"""Errors of Hydra and OmegaConf in one line."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import partial

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ..common import messages
from ..common.messages import one_line
from .help import known_keys

EXPECTED = (*messages.EXPECTED, HydraException, OmegaConfBaseException)
"""Errors that a user can correct."""


def described(error: Exception) -> str:
    """The message of an error on one line. An unknown option is answered with the nearest known ones."""
    text = one_line(error).split("Config search path:")[0].strip()
    text = text.removeprefix("UserError raised while resolving interpolation: ")  # a UserError of this package
    unknown = re.match(r"Could not override '(\S+)'\.", text)
    if not unknown:
        return text
    inside = re.search(r"full_key: (\S+)", str(error.__cause__))
    key = inside[1] if inside else unknown[1]
    if key != unknown[1]:
        node = unknown[1]
        return f"there is no option '{key}'; to replace {node} as a whole: '~{node}' '+{node}={{...}}'"
    known = set(known_keys()) - {key}  # other choices of a group may have this option, but these have not
    near = get_close_matches(key, known, n=3, cutoff=0.6)
    return f"there is no option '{key}'" + (f"; did you mean {' or '.join(near)}?" if near else "; see --cfg job")


one_line_errors = partial(messages.one_line_errors, EXPECTED, described)
"""`common.messages.one_line_errors` for programs that Hydra configures."""
