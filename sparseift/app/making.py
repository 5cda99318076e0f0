"""Makes the objects that nodes of a config name."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from ..common.checks import require
from ..common.messages import one_line
from ..errors import UserError
from .hydra_versions import ANY_TARGET
from .options import OWN

Kind = TypeVar("Kind")


def make(config: DictConfig, **extra: Any) -> Any:
    """Instantiate a node of the config, with lists and dictionaries instead of config nodes as arguments.

    Raises:
        UserError: The node cannot be instantiated.
    """
    try:
        return instantiate(config, _convert_="all", **ANY_TARGET, **extra)
    except UserError:
        raise
    except Exception as error:  # of any code that the config names; Hydra 1.3 raises all of it as one type
        raise _user_error(error) from error


def _user_error(error: Exception) -> UserError:
    """The UserError of a constructor, or one that names the node of the config."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__
    node = re.search(r"full_key: (\S+)", "\n".join([str(error), *getattr(error, "__notes__", [])]))
    reason = error.__cause__ if isinstance(error, InstantiationException) else error
    if cause is None and node and isinstance(reason, Exception):
        return UserError(f"{node[1]} cannot be made: {one_line(reason)}")
    return cause or UserError(one_line(error))


def make_choice(config: DictConfig, path: str, kind: type[Kind], by: Callable[..., Any] = make, **extra: Any) -> Kind:
    """Make the object that a node of the config names.

    Args:
        path: Dotted key of the node.
        kind: Required class of the object.
        by: Function that makes the object from the node.
        extra: Further arguments of the object.

    Raises:
        UserError: The node cannot be instantiated, or the object has another class.
    """
    node = OmegaConf.select(config, path)
    for name in extra.keys() & node.keys():
        raise UserError(f"{path}.{name} is {node[name]!r}; expected no value, because the program sets it")
    made = by(_without_own(config, path), **extra)
    require(isinstance(made, kind), f"{path}._target_", node._target_, f"a target that returns a {kind.__name__}")
    return made


def _without_own(config: DictConfig, path: str) -> Any:
    """A node of the config without the options that the program reads itself."""
    own = OWN.get(path, ())
    node = OmegaConf.select(deepcopy(config) if own else config, path)  # a whole copy: Hydra 1.4 reads from the root
    with open_dict(node):
        for name in own:
            node.pop(name, None)
    return node
