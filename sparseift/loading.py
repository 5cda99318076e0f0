"""Loads the network of a run in plain torch, without Lightning or Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from torch import Tensor, nn

from .api import sparsify
from .common.checks import require
from .common.messages import one_line
from .errors import Damaged, UserError
from .masks import Masks
from .masks.bits import unpack
from .runs.files import present
from .runs.read import read_config
from .runs.results import read_results
from .sparsity import Plan
from .tasks import Task
from .training.export import weights_sha256
from .training.published import is_published, read_published
from .training.saved import Saved, read_saved

PRETRAINED = {"pretrained": False, "weights": None}
"""Arguments with which constructors of timm and torchvision load weights, and the value for none."""


@dataclass(frozen=True)
class LoadedRun:
    """The network of a run, and what belongs to it.

    Attributes:
        network: The network in evaluation mode, on the CPU, with masked weights that are zero.
        masks: Its masks; None for a run without masks.
        plan: The FLOPs and the active weights of its layers.
        preprocessing: Called with a path, a text or a tensor, returns the input of the network for one sample; None if
            the data set of the run has none. It is an `ImagePreprocessing` or a `TextPreprocessing`, or what an own
            data module describes.
        task: The task of the run.
        checkpoint: The file of the weights.
        weights: Which weights these are: "last", "best" or "average".
    """

    network: nn.Module
    masks: Masks | None
    plan: Plan
    preprocessing: Any
    task: Task
    checkpoint: Path
    weights: str


def load(run: str | Path, weights: str | None = None) -> LoadedRun:
    """Return the network of a run with its masks, plan and preprocessing.

    The config of the run is code: this calls what its `_target_` name.

    Args:
        run: The run folder, or a folder that `sparseift export --format hub` has written.
        weights: "last": those after the last step; "best": those of best.ckpt; "average": the average of a run with
            callbacks=[ema]. By default, those that the run has tested.

    Raises:
        UserError: The folder is not that of a run with a checkpoint, or the weights do not fit its config.
    """
    run = Path(run)
    saved = read_published(run, weights) if is_published(run) else _of_run(run, weights)
    node = partial(_resolved, settings=saved.settings, config=saved.config)
    task, pattern = made(node("task")), made(node("pattern"))
    net, plan = _network(node, task)
    plan = pattern.plan(plan)
    try:
        net.load_state_dict(saved.state)
    except RuntimeError as error:
        reason = one_line(error)
        raise UserError(
            f"{saved.file} does not fit the network that the config of the run describes: {reason}"
        ) from error
    if saved.sha256 not in (None, weights_sha256(net)):
        raise Damaged(f"{saved.file} is damaged: its weights differ from their hash in {run}")
    masks = _masks(net, plan, saved, pattern)
    if masks:
        if saved.exact and (wrong := masks.nonzero_outside()):
            raise UserError(f"masked weights of {wrong[0]} are not zero in {saved.file}")
        masks.apply()  # an average may be denser
        plan = plan.with_active(masks.active)
    return LoadedRun(net.eval(), masks, plan, _preprocessing(run), task, saved.file, saved.weights)


def _of_run(run: Path, weights: str | None) -> Saved:
    config = read_config(run) if run.is_dir() else None
    if config is None:
        require(False, "RUN", str(run), "a run folder, which has .hydra/config.yaml")
    assert config is not None
    return read_saved(run, config, weights)


def made(node: Any, **extra: Any) -> Any:
    """Return the object that a node of a config describes with `_target_` and its arguments.

    Raises:
        UserError: It cannot be made.
    """
    if isinstance(node, list):
        return [made(item) for item in node]
    if not isinstance(node, dict):
        return node
    arguments = {key: made(value) for key, value in node.items() if key not in ("_target_", "_partial_", "_args_")}
    if "_target_" not in node:
        return arguments
    try:
        target = resolve_name(node["_target_"])
        if node.get("_partial_"):
            target = partial(partial, target)
        return target(*made(node.get("_args_", [])), **arguments, **extra)
    except UserError:
        raise
    except Exception as error:  # of any code that the config names
        raise UserError(f"{node['_target_']} cannot be made: {type(error).__name__}: {one_line(error)}") from error


def _resolved(path: str, config: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    """A node of the config of a run. The checkpoint has the values of its interpolations."""

    def value(node: Any, key: str) -> Any:
        if isinstance(node, dict):
            return {name: value(inner, f"{key}.{name}") for name, inner in node.items()}
        if "${" not in str(node):
            return node
        if key not in settings:
            raise UserError(f"{key} of the run is {node!r}, which its checkpoint does not resolve")
        return settings[key]

    found: Any = config
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return value(found, path)


def _network(node: Any, task: Task) -> tuple[nn.Module, Plan]:
    """The network as it was built, with other weights, and its plan."""
    model, sparsity = node("model"), node("sparsity")
    model |= {key: value for key, value in PRETRAINED.items() if key in model}  # the checkpoint has the weights
    distribution, masked = made(sparsity["distribution"]), node("sparsifier._target_") is not None
    return transformed(made(model), made(node("member")), sparsity, distribution, task, masked, keep_weights=False)


def transformed(
    dense: nn.Module,
    member: Any,
    sparsity: Mapping[str, Any],
    distribution: Any,
    task: Task,
    masked: bool,
    keep_weights: bool | None,
) -> tuple[nn.Module, Plan]:
    """Return what a config makes of a dense network, and its plan.

    Args:
        sparsity: The options of the group `sparsity`.
        masked: Whether the run has masks.
        keep_weights: See `sparsify`.
    """
    return sparsify(
        dense,
        member,
        sparsity["level"],
        task.example(),
        distribution=distribution,
        include=sparsity["include"],
        exclude=sparsity["exclude"],
        masked=masked,
        budget=sparsity["budget"],
        keep_weights=keep_weights,
    )


def _masks(net: nn.Module, plan: Plan, saved: Saved, pattern: Any) -> Masks | None:
    """The saved masks, which have the layers of the plan and the saved numbers of active weights."""
    bits: Mapping[str, Tensor] = saved.masks.get("masks", {})
    if bits.keys() != plan.masked.keys():
        strange = min(bits.keys() ^ plan.masked.keys())
        raise UserError(f"{strange} is masked in only one of {saved.file} and the network that the config describes")
    if not bits:
        return None
    shapes = {name: layer.shape for name, layer in plan.masked.items()}
    masks = Masks(net, {name: unpack(bits[name], shape) for name, shape in shapes.items()}, pattern)
    for name, count in saved.masks["active"].items():
        found = masks.active[name]
        require(found == count, f"the number of active weights of {name} in {saved.file}", found, str(count))
    return masks


def _preprocessing(run: Path) -> Any:
    """The preprocessing that results.json describes; None if there is none."""
    path = run / "results.json"
    described = read_results(path).get("preprocessing") if present(path) else None
    if described is None:
        return None
    return made({**described, "_target_": f"{described['_target_']}.restored"}, folder=run)
