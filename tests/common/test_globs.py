"""Layers that globs select."""

import pytest

from sparseift import UserError
from sparseift.common.globs import matching

NAMES = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "fc"]


def test_in_the_order_of_the_names_and_once_each() -> None:
    assert matching("key", ["fc", "layer1.*", "*.conv2"], NAMES) == ["layer1.0.conv1", "layer1.0.conv2", "fc"]
    assert matching("key", "conv1", NAMES) == ["conv1"]
    assert matching("key", [], NAMES) == []


@pytest.mark.parametrize("globs", [None, 3, [1], {"a": 1}])
def test_values_that_are_no_globs(globs) -> None:
    with pytest.raises(UserError, match=r"^key is .*; expected a list of names or globs, such as \[layer1\.\*\]$"):
        matching("key", globs, NAMES)


def test_a_glob_without_a_match() -> None:
    with pytest.raises(UserError, match=r"^key is 'conv3'; expected a name or glob that matches, such as conv1 or "):
        matching("key", ["fc", "conv3"], NAMES)
