"""Errors of Hydra and OmegaConf in one line."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import partial

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ..common import messages
from ..common.messages import one_line
from ..errors import UserError
from .help import groups, known_keys
from .options import COLLECTIONS
from .overrides import choices_of, config_folder, expected_choice

EXPECTED = (*messages.EXPECTED, HydraException, OmegaConfBaseException)
"""Errors that a user can correct."""


def described(error: Exception) -> str:
    """Return the message of an error on one line, in the terms of this package."""
    text = one_line(error).split("Config search path:")[0].strip()
    text = re.sub(
        r"^UserError raised while resolving interpolation: (.*?)( full_key: \S+ object_type=\w+)?$", r"\1", text
    )
    return _unknown_choice(text) or _unknown_option(text, error) or _missing(text) or _several_values(text) or text


def as_user_error(error: Exception) -> Exception:
    """Return the `UserError` of an error of Hydra or OmegaConf, and any other error as it is."""
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        return UserError(f"the choice of a group is not a name: {error}")
    if isinstance(error, HydraException | OmegaConfBaseException):
        return UserError(described(error))
    return error


def _unknown_choice(text: str) -> str | None:
    missing = re.search(r"Could not (?:find|load) '([^']*)'", text)
    for group in groups():
        name = group.relative_to(config_folder()).as_posix()
        if missing and missing[1].startswith(f"{name}/"):
            listed = text.partition("Available options in ")[2].partition(": ")[2].split()  # with choices of the user
            choice, choices = missing[1].removeprefix(f"{name}/"), listed or choices_of(group)
            return f"{name} is {choice!r}; expected {expected_choice(name, choices)}"
    return None


def _unknown_option(text: str, error: Exception) -> str | None:
    unknown = re.match(r"Could not override '(\S+)'\.", text)
    if not unknown:
        return None
    inside = re.search(r"full_key: (\S+)", str(error.__cause__))
    key = inside[1] if inside else unknown[1]
    if key != unknown[1]:
        node, (collection, _, choice) = unknown[1], key.partition(".")
        if collection in COLLECTIONS:
            choices = choices_of(config_folder() / collection)
            add = choice if choice in choices else "CHOICE"
            return f"{node} needs {collection}=[{add}]; expected one of {', '.join(choices)}"
        return f"there is no option '{key}'; to replace {node} as a whole: '~{node}' '+{node}={{...}}'"
    known = set(known_keys()) - {key}  # other choices of a group may have this option
    near = get_close_matches(key, known, n=3, cutoff=0.6)
    advice = f"did you mean {' or '.join(near)}?" if near else "see --cfg job"
    if f"{key.rpartition('.')[0]}._target_" in known:
        advice += f" To pass another argument: +{key}=VALUE"
    return f"there is no option '{key}'; {advice}"


def _missing(text: str) -> str | None:
    missing = re.match(r"Interpolation key '(\S+)' not found full_key: (\S+)", text)
    if missing:
        return f"{missing[1]} is missing; expected a value, to which {missing[2]} refers"
    read = re.search(r"Key '\S+' is not in struct full_key: (\S+) object_type", text)
    return f"{read[1]} is missing; expected a value" if read else None


def _several_values(text: str) -> str | None:
    several = re.match(r"Ambiguous value for argument '([^=]+)=(.*?)' 1\.", text)
    if not several:
        return None
    return f"{several[1]} is {several[2]}; expected one value, [...] for a list, or -m (--multirun) for a sweep"


one_line_errors = partial(messages.one_line_errors, EXPECTED, described)
"""`common.messages.one_line_errors` for programs that Hydra configures."""
