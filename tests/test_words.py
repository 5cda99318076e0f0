"""Words of one task stand in the files of that task: a search of the package for them."""

import json
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sparseift"
WORDS = re.compile(r"\b(accuracy|accuracies|acc1|acc5|images|logits|classes)\b", re.IGNORECASE)
HOMES = ("tasks/", "data/images/", "conf/")
EXEMPT = {
    "report/published.json": "results of papers, with their metrics by name",
    "runs/version_1.json": "the metrics that results.json of version 1 did not describe",
}
FILES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*")
    if path.suffix in (".py", ".jinja", ".j2", ".json") and not path.relative_to(PACKAGE).as_posix().startswith(HOMES)
)


@pytest.mark.parametrize("file", sorted(set(FILES) - EXEMPT.keys()))
def test_a_file_has_no_words_of_one_task(file: str) -> None:
    lines = (PACKAGE / file).read_text().splitlines()
    found = [f"{file}:{number}: {line.strip()}" for number, line in enumerate(lines, start=1) if WORDS.search(line)]
    assert not found, "\n".join(["words of one task:", *found])


def test_exemptions_are_data_and_needed() -> None:
    for file in EXEMPT:
        assert isinstance(json.loads((PACKAGE / file).read_text()), dict | list)
        assert WORDS.search((PACKAGE / file).read_text()), f"{file} needs no exemption"


def test_the_search_finds_words_alone() -> None:
    assert WORDS.search("Top-1 Accuracy") and WORDS.search("(N, classes)") and WORDS.search('"val/acc1"')
    assert not WORDS.search("num_classes image classification imagenet subclass")
