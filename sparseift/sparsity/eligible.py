"""Which layers are masked."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.globs import matching
from ..errors import UserError
from ..graph.flops import weight_identity
from ..graph.trace import Layer, Trace


def eligible_layers(record: Trace, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    """Names of the layers to mask, in execution order: every convolution and linear that ran but the first and the
    last, the depthwise ones, and those whose weight is standardised before use, where zeros would not stay zero. Globs
    of layer names add layers (`include`) or remove them (`exclude`, which wins).

    Raises UserError for a glob that matches no layer, or that adds one whose zeros would not stay zero.
    """
    names = list(record.layers)
    added = set(matching("sparsity.include", include, names))
    removed = set(matching("sparsity.exclude", exclude, names))
    computed = [name for name in names if name in added - removed and record.layers[name].derived]
    if computed:
        raise UserError(f"sparsity.include: {computed[0]} computes its weight before use, so zeros would not stay zero")
    run = [record.layers[call.module] for call in record.calls if record.is_layer(call)]
    end_weights = {weight_identity(layer) for layer in (*run[:1], *run[-1:])}
    ends = {name for name in names if weight_identity(record.layers[name]) in end_weights}
    return [
        name
        for name in names
        if name not in removed and (name in added or (name not in ends and _by_default(record.layers[name])))
    ]


def _by_default(layer: Layer) -> bool:
    return not layer.depthwise and not layer.derived
