"""Private names of other packages that this one uses, each with its reason: an upgrade breaks here and nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sparseift"
OWN = re.compile(r"_[a-zA-Z]")  # names with one underscore; those with two are Python's
ALLOWED: dict[tuple[str, str], str] = {
    ("app/build.py", "_target_"): "Hydra's documented key for the class of a config",
    ("app/evaluate.py", "_target_"): "Hydra's documented key for the class of a config",
    ("app/foreign.py", "_target_"): "Hydra's documented key for the class of a config",
    ("app/launchers.py", "_target_"): "Hydra's documented key for the class of a config",
    ("app/making.py", "_target_"): "Hydra's documented key for the class of a config",
    ("app/program.py", "_internal"): "Hydra has no public entry point that composes the config and shows help",
    ("app/options.py", "_partial_"): "Hydra's documented key for a function with some of its arguments",
    ("app/options.py", "_target_"): "Hydra's documented key for the class of a config",
    ("app/settings.py", "_target_"): "Hydra's documented key for the class of a config",
    ("data/loader.py", "_on_queue_feeder_error"): "Python has no public way to notice that a queue has lost an item",
    ("app/targets.py", "_target_"): "Hydra's documented key for the class of a config",
    ("data/loader.py", "_exit"): "os._exit is documented; it ends a worker process without clean-up",
    ("graph/counter.py", "_python_dispatch"): "the documented module of TorchDispatchMode",
    ("graph/pytree.py", "_pytree"): "nested containers: not every version has a public module with these functions",
    ("graph/watching.py", "_C"): "torch functions inside a mode that must not see them: modes have no public switch",
    (
        "kernels/deferred.py",
        "_C",
    ): "a tensor class that describes itself without its functions: there is no public switch",
    ("kernels/deferred.py", "_make_wrapper_subclass"): "tensors without memory, as torch's own classes make them",
    ("kernels/deferred.py", "_pytree"): "nested containers: not every version has a public module with these functions",
    (
        "kernels/deferred.py",
        "_version",
    ): "whether a tensor has been changed in place: documented in torch's notes on autograd",
    ("kernels/deferred.py", "_replace"): "a documented method of named tuples",
    ("surgery/pretrained.py", "_weight_conversions"): "where transformers keeps how a model is saved in its format",
    ("masks/inplace.py", "_foreach_mul_"): "one call for all layers; torch's optimizers use it, too",
    ("sparsifiers/probe.py", "_foreach_add_"): "one kernel for all weights; torch's optimizers use it, too",
    ("training/ranks.py", "_exit"): "os._exit is documented; it ends a rank that waits for a lost one",
    ("training/loggers/tensorboard.py", "_get_file_writer"): "SummaryWriter has no public way to make its event file",
}


def foreign_private(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Private names imported from other packages, and private attributes that this package does not define."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split(".") if OWN.match(part))
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from (part for part in parts if OWN.match(part))
        elif isinstance(node, ast.Attribute) and OWN.match(node.attr) and node.attr not in own:
            yield node.attr


def defined(tree: ast.Module) -> set[str]:
    """Private names that a file defines: functions, classes, attributes of self and cls, fields, module variables."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            found |= {node.attr} if node.value.id in ("self", "cls") else set()
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def used() -> set[tuple[str, str]]:
    trees = {file: ast.parse(file.read_text()) for file in sorted(PACKAGE.rglob("*.py"))}
    own = set().union(*map(defined, trees.values()))
    return {
        (file.relative_to(PACKAGE).as_posix(), name)
        for file, tree in trees.items()
        for name in foreign_private(tree, own)
    }


def test_every_private_name_has_its_reason() -> None:
    assert used() - ALLOWED.keys() == set()


def test_no_reason_is_stale() -> None:
    assert ALLOWED.keys() - used() == set()


def test_the_search_finds_each_kind() -> None:
    code = """
import torch._dynamo
from torch.utils._pytree import tree_map
from omegaconf.basecontainer import _node
trainer._run(), self._mine, net.ours._mine, self._inherited
"""
    assert set(foreign_private(ast.parse(code), own={"_mine"})) == {"_dynamo", "_pytree", "_node", "_run", "_inherited"}
