"""Names chosen by globs: in the order of the names, each once, or one line that says what would match."""

import pytest

from sparseift.common.globs import matching
from sparseift.errors import UserError

NAMES = ["stem", "layer1.conv", "layer1.norm", "head"]


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        ([], []),
        ("head", ["head"]),
        (["head", "layer1.*"], ["layer1.conv", "layer1.norm", "head"]),
        (iter(["*m", "stem"]), ["stem", "layer1.norm"]),
    ],
)
def test_names_come_in_their_order_and_once(globs, expected: list[str]) -> None:
    assert matching("option", globs, NAMES) == expected


@pytest.mark.parametrize(
    ("globs", "said"),
    [
        (["hed"], "option is 'hed'; expected a name or glob that matches, such as head"),
        (["*", "Q"], "option is 'Q'; expected a name or glob that matches, such as stem or layer1.conv or layer1.norm"),
        (None, "option is None; expected a list of names or globs, such as [layer1.*]"),
        ([1], "option is [1]; expected a list of names or globs, such as [layer1.*]"),
    ],
)
def test_what_matches_nothing_is_refused(globs, said: str) -> None:
    with pytest.raises(UserError) as refusal:
        matching("option", globs, NAMES)
    assert str(refusal.value) == said
