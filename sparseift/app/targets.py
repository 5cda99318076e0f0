"""Checks that what a config names can be called with its arguments, by the signatures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from inspect import Parameter, signature
from numbers import Real
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from omegaconf import DictConfig, OmegaConf

from ..common.checks import require
from ..common.messages import one_line
from ..errors import UserError
from ..training.schedulers import RUN_STEPS
from .options import HYDRAS, OWN, PARTLY_MADE, join, made_nodes, missing, no_option, plain

KINDS = {NoneType: "null", bool: "true or false", int: "an integer", float: "a number", str: "a string"}
"""The types of a config's values, and what a message calls them."""


NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def check_targets(config: DictConfig, groups: Collection[str] | None = None, **given: Collection[str]) -> None:
    """Check every class or function that a config names.

    Args:
        groups: The groups to check; None for all.
        given: The arguments that the program adds, by group.

    Raises:
        UserError: A name cannot be imported, is not callable, or does not take the arguments.
    """
    for path, node in made_nodes(config):
        group = path.partition(".")[0]
        if node._target_ is not None and (groups is None or group in groups):
            check_target(path, node, given.get(group, ()))


def check_target(path: str, node: DictConfig, given: Collection[str] = ()) -> None:
    """Check the class or function that a node names, and those that its arguments name.

    Args:
        path: Dotted key of the node.
        given: Names of the arguments that the program adds.
    """
    target = _located(path, node._target_)
    arguments = {str(name): value for name, value in node.items() if name not in (*HYDRAS, *OWN.get(path, ()))}
    for name, value in arguments.items():
        if OmegaConf.is_dict(value) and "_target_" in value:
            check_target(join(path, name), value)
    parameters = _parameters(target)
    if parameters is None:
        return
    if "_args_" not in node:  # otherwise the call itself checks them
        _check_names(path, node, parameters, arguments, given)
    for name, value in arguments.items():
        if name in parameters and not (value is None and parameters[name].default is None):
            _check_type(join(path, name), plain(value), parameters[name].annotation)


def _check_names(
    path: str,
    node: DictConfig,
    parameters: Mapping[str, Parameter],
    arguments: Mapping[str, Any],
    given: Collection[str],
) -> None:
    """Check that no argument is unknown, missing, or set by the program.

    It sets the first argument of PARTLY_MADE, and the length of the run for a schedule.
    """
    partial = node.get("_partial_", False)
    partly = path in PARTLY_MADE
    if partial and partly:
        given = {*given, *list(parameters)[:1], *([RUN_STEPS] if path == "recipe.scheduler" else [])}
    named = [name for name, parameter in parameters.items() if parameter.kind in NAMED and name not in given]
    takes_others = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in arguments:
        require(name not in given, join(path, name), plain(arguments[name]), "no value, because the program sets it")
        if name not in named and not takes_others:
            offered = [join(path, option) for option in (*named, *OWN.get(path, ()))]
            raise no_option(join(path, name), offered, node._target_)
    for name in named:
        needed = parameters[name].default is Parameter.empty and (partly or not partial)
        if needed and name not in arguments:
            raise missing(join(path, name), f"a value, which {node._target_} needs")


def _located(path: str, name: str) -> Any:
    key, expected = f"{path}._target_", "the dotted name of a class or function"
    try:
        target = resolve_name(name)
    except Exception as error:  # the import of the user's own module may raise anything
        raise UserError(
            f"{key} is {name!r}; expected {expected} ({type(error).__name__}: {one_line(error)})"
        ) from error
    require(callable(target), key, name, expected)
    return target


def _parameters(target: Any) -> Mapping[str, Parameter] | None:
    """The parameters of a class or function, or None for some that are not written in Python."""
    try:
        return signature(target, eval_str=True).parameters
    except (TypeError, ValueError):
        return None
    except Exception:  # annotations may name what is imported for type checkers only
        return signature(target).parameters


def _check_type(key: str, value: Any, annotation: Any) -> None:
    """Check a value against an annotation, as far as it names types of a config's values."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    literals = [choice for option in options if get_origin(option) is Literal for choice in get_args(option)]
    kinds = [kind for kind in map(_kind, options) if kind]
    made = isinstance(value, dict) and "_target_" in value
    if made or Any in options or object in options or not (kinds or literals):
        return
    expected = [*kinds, *([f"one of {', '.join(map(str, literals))}"] if literals else [])]
    require(value in literals or any(_fits(value, option) for option in options), key, value, " or ".join(expected))


def _kind(option: Any) -> str | None:
    """What a message calls the values of a type, or None for a type that no value of a config has."""
    return {list: "a list", dict: "a node"}.get(_container(option)) or KINDS.get(option)


def _container(option: Any) -> Any:
    """The container of a config that fits a type, or None."""
    origin = get_origin(option) or option
    if not isinstance(origin, type) or origin is str:
        return None
    if issubclass(origin, Mapping):
        return dict
    return list if issubclass(origin, Sequence | set) or origin in (Iterable, Collection) else None


def _fits(value: Any, option: Any) -> bool:
    if container := _container(option):
        return isinstance(value, container)
    if option in (int, float):
        return isinstance(value, Real if option is float else int) and not isinstance(value, bool)
    return option in KINDS and isinstance(value, option)
