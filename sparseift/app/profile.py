"""Prints the cost of a run, layer by layer, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ..common.checks import one_of
from ..common.console import waiting
from .checks import check_values
from .foreign import drop_foreign

if TYPE_CHECKING:
    from ..sparsity import Plan


def profile(config: DictConfig) -> None:
    """Print the cost of a run."""
    one_of("format", config.format, ("table", "json"))
    check_values(config)
    drop_foreign(config)
    from .build import build_network, make_backend, make_pattern  # with torch, which takes seconds to import

    with waiting("network and plan"):
        net, plan = build_network(config, on_meta=True)
        backend, pattern = make_backend(config), make_pattern(config)
    refused = {name: backend.refusal(net.get_submodule(name), pattern) for name in plan.masked}
    kernels = {name: type(backend).__name__.lower() if reason is None else "masked" for name, reason in refused.items()}
    if config.format == "json":
        print(json.dumps(as_dict(plan, kernels), indent=2))
        return
    print_table(plan, kernels)
    if "auto" in kernels.values():
        print("auto is the faster of masked and sparse, which training measures")
    for name, reason in refused.items():
        if reason is not None:
            print(f"{name} is left to dense kernels: {reason}")


def as_dict(plan: Plan, kernels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the plan as plain data. FLOPs are those of the forward pass of one sample.

    Args:
        kernels: What computes each masked layer; by default dense kernels.
    """
    kernels = kernels or dict.fromkeys(plan.masked, "masked")
    return {
        "budget": plan.budget,
        "forward": plan.forward,
        "forward_stored": plan.forward_stored,
        "products": plan.products,
        "ratio": plan.ratio,
        "params_stored": plan.params_stored,
        "params_active": plan.params_active,
        "kept": dict(plan.kept),
        "layers": [
            {key: value for key, value in asdict(layer).items() if key != "flops_per_weight"}
            | {"density": layer.density, "flops": layer.flops, "kernels": kernels.get(layer.name, "dense")}
            for layer in plan.layers
        ],
    }


def print_table(plan: Plan, kernels: Mapping[str, str]) -> None:
    """Print the plan as a table, with totals below the layers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Forward FLOPs of one sample: 2 per multiply-accumulate")
    for name in ("layer", "shape", ""):
        table.add_column(name)
    for name in ("density", "active", "FLOPs"):
        table.add_column(name, justify="right")
    for layer in plan.layers:
        kind = kernels.get(layer.name, "dense")
        shape = "x".join(map(str, layer.shape))
        table.add_row(layer.name, shape, kind, f"{layer.density:.4f}", f"{layer.active:,}", f"{layer.flops:,}")
    table.add_section()
    stored = sum(layer.numel for layer in plan.layers)
    active = sum(layer.active for layer in plan.layers)
    if plan.products:
        table.add_row("products outside of layers", "", "", "", "", f"{plan.products:,}")
    table.add_row("all", "", "", f"{active / stored:.4f}", f"{active:,}", f"{plan.forward:,}")
    table.add_row("without masks", "", "", "1.0000", f"{stored:,}", f"{plan.forward_stored:,}")
    table.add_row("budget: the dense network", "", "", "", "", f"{plan.budget:,}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for name, reason in plan.kept.items():
        console.print(f"{name} is masked as it is: {reason}", highlight=False)
    console.print(
        f"ratio to the budget {plan.ratio:.6f}; parameters stored {plan.params_stored:,}, active {plan.params_active:,}"
    )
