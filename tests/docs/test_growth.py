"""docs/growth.md: what it says about its table holds for every row."""

import re
import shlex
from itertools import product

import pytest

from .pages import DOCS, composed

TEXT = (DOCS / "growth.md").read_text()
COMMANDS = re.findall(r"^sparseift train (.*)$", TEXT, re.M)
CELLS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| (?:RigL|SET) .*$", TEXT, re.M)
]


def ratios(column: int, state: str) -> list[float]:
    """Steps of grown weights, divided by those of the others."""
    pairs = [row[column].split(" / ") for row in CELLS if row[3] == state]
    return [float(grown) / float(others) for grown, others in pairs]


def test_every_setting_is_there_with_both_states() -> None:
    optimizers = [name + amsgrad for name, amsgrad in product(("Adam", "AdamW"), ("", ", AMSGrad"))]
    settings = product(("RigL", "SET"), optimizers, ("0.95", "0.999"), ("new", "matched"))
    assert sorted(tuple(row[:4]) for row in CELLS) == sorted(settings)


@pytest.mark.parametrize(
    ("column", "state", "said"),
    [(4, "new", r"2 to 11"), (4, "matched", r"0\.4 to 0\.7"), (5, "matched", r"0\.7 to 1\.1")],
)
def test_ratios_of_means(column: int, state: str, said: str) -> None:
    assert re.search(rf"\b{said}\b", TEXT)
    least, most = (float(number) for number in said.replace("\\", "").split(" to "))
    found = ratios(column, state)
    digits = 0 if state == "new" else 1
    assert (round(min(found), digits), round(max(found), digits)) == (least, most)


def test_ratios_of_the_largest_steps() -> None:
    most = re.search(r"at most ([\d.]+) times the largest of the other weights, instead of up to ([\d.]+) times", TEXT)
    found = [max(ratios(6, state)) for state in ("matched", "new")]
    assert [float(number) for number in most.groups()] == [round(ratio, 1) for ratio in found]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_compose(line: str) -> None:
    config = composed(shlex.split(line))
    assert config.recipe.optimizer._target_ == "torch.optim.AdamW"
    assert (config.sparsity.level, config.sparsifier.grown_state) == (0.75, "matched")


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 2
