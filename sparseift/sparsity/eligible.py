"""The layers to mask."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.checks import require
from ..common.globs import matching
from ..graph.flops import weight_identity
from ..graph.trace import Trace


def eligible_layers(record: Trace, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    """Return the names of the layers to mask, in execution order.

    These are all convolutions and linears that ran, except the first, the last, depthwise ones, and those that compute
    their weight before use, where zeros would not stay zero. In a network that takes tokens, the first is the embedding
    and the last the head (`Trace.ends`).

    Args:
        include: Globs of names of layers to add.
        exclude: Globs of names of layers to remove. They override `include`.

    Raises:
        UserError: A glob matches no layer, or adds one that computes its weight before use.
    """
    names = list(record.layers)
    added = set(matching("sparsity.include", include, names))
    removed = set(matching("sparsity.exclude", exclude, names))
    for name in sorted(added - removed, key=names.index):
        stays = not record.layers[name].derived
        require(stays, "sparsity.include", name, "layers that use their weight as it is, so that zeros stay zero")
    end_weights = {weight_identity(record.layers[name]) for name in record.ends}
    ends = {name for name in names if weight_identity(record.layers[name]) in end_weights}
    return [
        name
        for name, layer in record.layers.items()
        if name not in removed and (name in added or (name not in ends and not layer.depthwise and not layer.derived))
    ]
