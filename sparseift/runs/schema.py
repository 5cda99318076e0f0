"""The schema of results.json: its version, and the names and types of its entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..common.checks import require
from ..errors import UserError

VERSION = 2
"""The version of new files. Files of version 1 have no entry `version`, and are upgraded on reading."""

LARGEST = 1e60
"""Bound of all numbers, so that sums of their fourth powers stay finite."""


class Kind(NamedTuple):
    """The type of an entry.

    Args:
        expected: The name of the type in messages.
    """

    expected: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST


STRING = Kind("a string", lambda value: isinstance(value, str))
STRING_OR_NULL = Kind("a string or null", lambda value: value is None or isinstance(value, str))
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a finite number", _is_number)
POSITIVE = Kind("a number > 0", lambda value: _is_number(value) and value > 0)
INTEGER = Kind("an integer", lambda value: _is_number(value) and isinstance(value, int))
OBJECT_OR_NULL = Kind("an object or null", lambda value: value is None or isinstance(value, dict))
INTEGER_OR_NULL = Kind("an integer or null", lambda value: value is None or INTEGER.fits(value))

SHAPE: dict[str, Any] = {
    "version": INTEGER,
    **dict.fromkeys(("dataset", "model", "task", "member", "sparsifier", "pattern", "backend"), STRING),
    "distribution": STRING_OR_NULL,
    "sparsity": NUMBER,
    "seed": INTEGER,
    "epochs": INTEGER,
    "steps": POSITIVE,
    "seconds": NUMBER,
    "metrics": [{"name": STRING, "label": STRING, "unit": STRING, "higher_is_better": BOOLEAN}],
    "flops": dict.fromkeys(("budget", "forward", "ratio", "train_total"), NUMBER),
    "params": {"stored": NUMBER, "active": NUMBER},
}
OPTIONAL: dict[str, Any] = {
    "planned_steps": INTEGER_OR_NULL,  # optimizer steps of all epochs; a run that stops early has fewer
    "mask_updates": INTEGER_OR_NULL,  # that have changed masks
    "partial": STRING_OR_NULL,  # why the run is not the whole training and test, such as trainer.limit_train_batches=2
    "data_sha256": STRING_OR_NULL,  # of all tokens, or null for other data
    "preprocessing": OBJECT_OR_NULL,  # what turns other data into inputs of the network
    "layers": [{"name": STRING, "stored": POSITIVE, "active": NUMBER, "flops": NUMBER}],
}
"""Entries that files of earlier versions lack."""


def validate(results: Any) -> None:
    """Check that results have every entry of the schema, with its type.

    Raises:
        UserError: An entry is missing or has another type.
    """
    _validate(results, SHAPE, "")
    require(results["metrics"] != [], "metrics", [], "at least one metric")
    _validate(results, {"test": {metric["name"]: NUMBER for metric in results["metrics"]}}, "")
    for key in OPTIONAL.keys() & results.keys():
        _validate(results[key], OPTIONAL[key], key)


def _validate(value: Any, shape: Any, name: str) -> None:
    if isinstance(shape, Kind):
        require(shape.fits(value), name, value, shape.expected)
    elif isinstance(shape, list):
        require(isinstance(value, list), name, value, "a list")
        for index, item in enumerate(value):
            _validate(item, shape[0], f"{name}[{index}]")
    else:
        require(isinstance(value, dict), name or "the content", value, "an object")
        for key, inner in shape.items():
            path = f"{name}.{key}" if name else key
            if key not in value:
                raise UserError(f"{path} is missing")
            _validate(value[key], inner, path)
