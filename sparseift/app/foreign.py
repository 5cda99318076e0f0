"""Drops options that belong to a choice which the command line has replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import Parameter, isclass, signature
from pkgutil import resolve_name
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ..common.messages import say
from ..common.slurm import first_process
from .options import COLLECTIONS, HYDRAS, MADE, PARTLY_MADE, join, typed_groups, typed_keys


def drop_foreign(config: DictConfig) -> None:
    """Remove the options that the target of a node does not take, if the command line has chosen the target, and say
    which. Options that the command line sets stay, and are refused later.

    A choice of a group counts if there is an experiment, whose values may be meant for another choice.
    """
    if not HydraConfig.initialized():
        return
    typed = typed_keys("task")
    chosen = typed_groups()
    experiment = HydraConfig.get().runtime.choices.get("experiment") is not None
    for path, node in _nodes(config):
        group = path.partition(".")[0]
        if join(path, "_target_") not in typed and not (experiment and group in chosen):
            continue
        taken = _taken(node._target_)
        names = [str(name) for name in node if name not in HYDRAS]
        foreign = [name for name in names if taken is not None and name not in taken and join(path, name) not in typed]
        if not foreign:
            continue
        with open_dict(config):
            for name in foreign:
                del node[name]
        if first_process():
            taker = f"{node._target_} does not take" if node._target_ else "a run without masks does not use"
            say(f"{path}: dropped {', '.join(foreign)}, which {taker}")


def _nodes(config: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield the nodes that name a class or function, and their dotted keys."""
    collected = [join(path, str(name)) for path in COLLECTIONS for name in OmegaConf.select(config, path) or ()]
    for path in (*MADE, *PARTLY_MADE, *collected):
        node = OmegaConf.select(config, path)
        if OmegaConf.is_dict(node) and "_target_" in node:
            yield path, node


def _taken(name: str | None) -> Mapping[str, Any] | None:
    """The arguments of a class or function; None if it may take any, or cannot be found."""
    if name is None:
        return {}
    try:
        target = resolve_name(name)
        taken = dict(signature(target).parameters)
        if not _takes_others(taken):
            return taken
        for kind in target.__mro__[:-1] if isclass(target) else ():  # those that pass other arguments on, but `object`
            if "__init__" in vars(kind):
                parameters = signature(vars(kind)["__init__"]).parameters
                taken |= parameters
                if not _takes_others(parameters):
                    return taken
    except Exception:  # the import of the user's own module may raise anything; `check_targets` reports it
        return None
    return None


def _takes_others(parameters: Mapping[str, Parameter]) -> bool:
    return any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
