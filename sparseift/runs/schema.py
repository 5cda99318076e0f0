"""What a results.json has to hold to be reported on: names, types, and numbers that can be computed with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LARGEST = 1e300
"""Of a number: beyond it a sum or a square may be no number any more."""


def a_name(value: Any) -> bool:
    return isinstance(value, str)


def a_name_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def a_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def a_positive_number(value: Any) -> bool:
    return a_number(value) and value > 0


def a_whole_number(value: Any) -> bool:
    return a_number(value) and isinstance(value, int)


SHAPE: dict[str, Any] = {
    **dict.fromkeys(("dataset", "model", "member", "sparsifier"), a_name),
    "distribution": a_name_or_null,
    "sparsity": a_number,
    "seed": a_whole_number,
    "epochs": a_whole_number,
    "steps": a_positive_number,
    "seconds": a_number,
    "test": {"acc1": a_number, "acc5": a_number},
    "flops": dict.fromkeys(("budget", "forward", "ratio", "train_total"), a_number),
    "params": {"stored": a_number, "active": a_number},
}
LAYER = {"name": a_name, "stored": a_positive_number, "active": a_number, "flops": a_number}


def faults(results: Any) -> Iterator[str]:
    """What is wrong with the content of a results.json, in words."""
    yield from _faults(results, SHAPE, "")
    layers = results.get("layers", []) if isinstance(results, dict) else []
    if not isinstance(layers, list):
        yield "layers is no list"
        return
    for index, layer in enumerate(layers):
        yield from _faults(layer, LAYER, f"layers[{index}]")


def _faults(value: Any, shape: Any, name: str) -> Iterator[str]:
    if callable(shape):
        if not shape(value):
            yield f"{name} is not {shape.__name__.replace('_', ' ')}"
    elif not isinstance(value, dict):
        yield f"{name or 'it'} has no names"
    else:
        for key, inner in shape.items():
            path = f"{name}.{key}" if name else key
            if key in value:
                yield from _faults(value[key], inner, path)
            else:
                yield f"no {path}"
