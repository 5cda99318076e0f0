"""The rows of scripts/dropin_language, their checks and their page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from sparseift import UserError, sparsify
from sparseift.common.console import si
from sparseift.graph.examples import inputs_of as arguments_of
from sparseift.graph.examples import tensor_leaves
from sparseift.sparsity import Plan

from .check import Failed, check_step
from .counting import counted, counted_ratio
from .language import NETWORKS, example_of, takes_mask
from .page import line, table

MEMBERS = ("dense", "sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped")
SAVED = ("dense", "sparse_wide")  # the members whose result has the modules that the class of the network builds


@dataclass
class Row:
    """The result for one network, member and sparsity.

    Args:
        budget: FLOPs per sample of the dense network.
        counted: FLOPs of the transformed network divided by those of the dense one, both by torch's FlopCounterMode,
            less those of masked weights.
        ratio: the same by the plan.
        dense, stored, active: parameters of the dense network, of the transformed one, and those that are not masked.
        refusal: reason why the network is rejected; empty if it is not.
        check: 'passed', or what failed.
    """

    network: str
    member: str
    sparsity: float
    budget: int = 0
    counted: float = 0.0
    ratio: float = 0.0
    dense: int = 0
    stored: int = 0
    active: int = 0
    refusal: str = ""
    check: str = ""

    def __str__(self) -> str:
        return self.refusal or f"{self.ratio:.4f} of {si(self.budget)}FLOPs, {self.counted:.4f} counted; {self.check}"


def result(name: str, member: str, sparsity: float) -> Row:
    """Return the row of a network and a member."""
    torch.manual_seed(0)
    row, net, example = Row(name, member, sparsity), NETWORKS[name](), example_of(name)
    row.dense = sum(parameter.numel() for parameter in net.parameters())
    try:
        new, plan = sparsify(net, member, sparsity, example)
    except UserError as error:
        row.refusal = str(error)
        return row
    dense = counted(net, example)
    row.budget, row.ratio, row.stored, row.active = plan.budget, plan.ratio, plan.params_stored, plan.params_active
    row.counted = counted_ratio(new, example, plan, dense)
    try:
        if plan.budget != dense:
            raise Failed(f"torch counts {dense} FLOPs of the dense network")
        if takes_mask(name):
            _check_mask(name, net, new, plan, row)
        args, kwargs = arguments_of(example)
        check_step(new, plan, *args, **kwargs)
        if name.startswith("transformers/") and member in SAVED:
            _check_saved(new, args, kwargs)
        row.check = "passed"
    except Failed as error:
        row.check = str(error)
    return row


def _check_mask(name: str, net: nn.Module, new: nn.Module, plan: Plan, row: Row) -> None:
    """With a 2-D mask in the example, the plan is the same."""
    (tokens,) = example_of(name)
    mask = torch.ones_like(tokens)
    mask[:, -3:] = 0
    _, other = sparsify(net, row.member, row.sparsity, {"input_ids": tokens, "attention_mask": mask})
    if other != plan:
        raise Failed("with a mask in the example, the plan differs")
    if not all(bool(tensor.isfinite().all()) for tensor in tensor_leaves(new(tokens, attention_mask=mask))):
        raise Failed("with a mask, the outputs are not finite")


def _check_saved(new: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
    with TemporaryDirectory() as folder:
        new.save_pretrained(folder)
        again = type(new).from_pretrained(folder)
    with torch.no_grad():
        pairs = zip(*(tensor_leaves(net.eval()(*args, **kwargs)) for net in (new, again)), strict=True)
    if not all(torch.equal(a, b) for a, b in pairs):
        raise Failed("a network that is saved and loaded gives other outputs")


def markdown(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the page."""
    names, members = list(dict.fromkeys(row.network for row in rows)), list(dict.fromkeys(row.member for row in rows))
    yield f"# {len(names)} language models and transformers"
    yield ""
    yield (
        "`scripts/dropin_language` writes this page. The networks are small and have random weights. Each is called "
        "with `input_ids`, an integer tensor, or with images. Cells show the FLOPs of the transformed network relative "
        "to those of the dense one. torch's `FlopCounterMode` counts both, with attention under the MATH kernel; the "
        "FLOPs of masked weights are subtracted. The member `dense` has the given sparsity; the others have the FLOPs "
        "of the dense network."
    )
    yield ""
    yield (
        "The check of every cell requires that the budget is exactly what torch counts, that a training step with a "
        "RigL update keeps masked weights zero, and that the plan is the same if the example has a 2-D mask. With the "
        "members " + " and ".join(f"`{member}`" for member in SAVED) + ", models of transformers are also saved by "
        "`save_pretrained` and loaded by `from_pretrained`: the outputs must be equal to the bit. The other members "
        "replace layers by modules that a config cannot describe. `dropin_language.csv` has every figure."
    )
    for sparsity in dict.fromkeys(row.sparsity for row in rows):
        found = {(row.network, row.member): row for row in rows if row.sparsity == sparsity}
        yield from ("", f"## Sparsity {sparsity:g}", "")
        yield from table(["network", "FLOPs", "parameters", *(f"`{member}`" for member in members)])
        for name in names:
            own = [found[name, member] for member in members]
            budget = max(row.budget for row in own)
            yield line([name, si(budget) if budget else "-", si(own[0].dense), *map(_cell, own)])
    told = {(row.network, row.member, row.refusal): row for row in rows if row.refusal}
    if told:
        yield from ("", "## Rejected", "")
        yield from (
            f"- {row.network}, `{row.member}`, sparsity {row.sparsity:g}: {row.refusal}" for row in told.values()
        )
    failed = [row for row in rows if not row.refusal and row.check != "passed"]
    if failed:
        yield from ("", "## Failed checks", "")
        yield from (f"- {row.network}, `{row.member}`, sparsity {row.sparsity:g}: {row.check}" for row in failed)


def _cell(row: Row) -> str:
    if row.refusal:
        return "rejected"
    return f"{row.counted:.4f}" + ("" if row.check == "passed" else " (failed)")
