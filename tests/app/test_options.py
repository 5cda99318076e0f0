"""Which options are read: by the programs, by classes, by interpolations."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from sparseift.app.options import OFFERED, VALUES_ONLY, check_finite, check_options, plain_nodes
from sparseift.app.overrides import choices_of, config_folder, plain_choice
from sparseift.app.targets import check_target, check_targets
from sparseift.errors import UserError

SIZES = ("dataset.num_classes=2", "dataset.channels=1", "dataset.image_size=8")
PAIRS = tuple(f"dataset.{part}._target_=torch.utils.data.TensorDataset" for part in ("train", "test"))
OF_THE_USER = {"image_folder": SIZES[:1], "python": (*SIZES, *PAIRS)}
"""What a person sets in addition, or what is counted from the files."""

OF_TEXT = ("gpt", "text", "language_modelling", "transformers")


def composed(*overrides: str) -> DictConfig:
    dataset = "python_text" if any(word in override for word in OF_TEXT for override in overrides) else "digits"
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [f"dataset={dataset}", "trainer=cpu", *overrides])


@pytest.mark.parametrize(
    "group", [*VALUES_ONLY, "model", "member", "pattern", "sparsifier", "task", "dataset", "trainer"]
)
def test_every_choice_of_the_package_passes(group: str) -> None:
    for choice in choices_of(config_folder() / group):
        config = composed(f"{group}={choice}", *OF_THE_USER.get(choice, ()))
        check_options(config)
        check_targets(config, logger=("folder",))
        if group in VALUES_ONLY:
            offered = {key.rpartition(".")[2] for key in OFFERED if key.startswith(group)}
            assert set(config[group]) - offered == set(plain_nodes()[group])


def test_options_of_the_config_itself() -> None:
    assert set(plain_nodes()[""]) - {"experiment"} == set(composed())


@pytest.mark.parametrize(
    ("overrides", "unread"),
    [
        (["+mine=1"], "mine"),
        (["+mine=1", "recipe.optimizer.lr=${mine}"], None),
        (["+mine=0.1", "recipe.optimizer.lr=${.momentum}"], "mine"),
        (["+recipe.mine=0.1", "recipe.optimizer.lr=${..mine}"], None),
        (["+mine.deep=1", "recipe.optimizer.lr=${mine.deep}"], None),
        (["+mine={a:1}", "+dataset.options=${mine}"], None),
        (["+mine=3", "recipe.epochs='${fraction:0.5,${mine}}'"], None),
        (["+mine=3", "recipe.epochs='${oc.select:mine,2}'"], None),
        (["+min=3", "+mine=3", "recipe.epochs=${mine}"], "min"),
        (["+recipe.mine=1"], "recipe.mine"),
        (["+checkpoint.mine=1"], "checkpoint.mine"),
        (["+sparsity.mine=1"], "sparsity.mine"),
    ],
)
def test_an_option_that_an_interpolation_refers_to_is_read(overrides: list[str], unread: str | None) -> None:
    config = composed(*overrides)
    if unread is None:
        check_options(config)
    else:
        with pytest.raises(UserError, match=f"^there is no option '{unread}'; "):
            check_options(config)


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("recipe.optimizer.lr", float("inf"), False),
        ("recipe.optimizer.betas", [0.9, float("nan")], False),
        ("callbacks.mine", {"_target_": "mine.Callback", "limit": float("inf")}, True),
        ("callbacks.mine", {"_target_": "mine.Callback", "limit": float("nan")}, False),
        ("pattern.tolerance", float("inf"), True),
    ],
)
def test_numbers(key: str, value: Any, fits: bool) -> None:
    config = composed()
    OmegaConf.update(config, key, value, force_add=True)
    if fits:
        check_finite(config)
    else:
        with pytest.raises(UserError, match=r"; expected a finite number$"):
            check_finite(config)


def function(
    first: list[int],
    second: float = 1.0,
    *,
    flag: bool = False,
    mode: Literal["a", "b"] = "a",
    either: int | str | None = None,
    tensor: float | torch.Tensor = 0.0,
    path: Path = Path(),
    free=None,
    unset: int = None,  # noqa: RUF013
) -> None: ...


class Base:
    def __init__(self, base: int = 0, **more: Any): ...


NODES: list[tuple[str, dict[str, Any], str | None]] = [
    ("function", {"first": [1]}, None),
    ("function", {}, "node.first is missing; expected a value, which .*function needs"),
    ("function", {"_partial_": True}, None),
    ("function", {"_partial_": True, "first": [1]}, None),
    ("function", {"_args_": [[1]], "second": 2}, None),
    ("function", {"first": 1}, "node.first is 1; expected a list"),
    ("function", {"first": [1], "secnd": 1}, "there is no option 'node.secnd'; did you mean node.second"),
    ("function", {"first": [1], "second": 2}, None),
    ("function", {"first": [1], "second": True}, "node.second is True; expected a number"),
    ("function", {"first": [1], "second": None}, "node.second is None; expected a number"),
    ("function", {"first": [1], "flag": 1}, "node.flag is 1; expected true or false"),
    ("function", {"first": [1], "mode": "c"}, "node.mode is 'c'; expected one of a, b"),
    ("function", {"first": [1], "mode": "b", "either": "x", "tensor": 1, "path": "x", "unset": None}, None),
    ("function", {"first": [1], "either": [1]}, r"node.either is \[1\]; expected an integer or a string or null"),
    ("function", {"first": [1], "tensor": "x"}, "node.tensor is 'x'; expected a number"),
    ("function", {"first": [1], "free": {"any": ["thing"]}, "path": 5}, None),
    ("function", {"first": [1], "either": {"_target_": "builtins.int"}}, None),
    ("function", {"first": [1], "free": {"_target_": "nowhere.X"}}, "node.free._target_ is 'nowhere.X'; expected"),
    ("Base", {"base": 1, "other": 2}, None),
    ("Base", {"base": "x"}, "node.base is 'x'; expected an integer"),
    ("__doc__", {}, "node._target_ is '.*__doc__'; expected the dotted name of a class or function"),
    ("missing", {}, r"node._target_ is '.*missing'; expected the dotted name .* \(AttributeError: "),
]


@pytest.mark.parametrize(("name", "arguments", "told"), NODES)
def test_signatures(name: str, arguments: dict[str, Any], told: str | None) -> None:
    node = OmegaConf.create({"_target_": f"{__name__}.{name}", **arguments})
    if told is None:
        check_target("node", node)
    else:
        with pytest.raises(UserError, match=f"^{told}"):
            check_target("node", node)


def test_what_the_program_adds_is_not_missing() -> None:
    node = OmegaConf.create({"_target_": f"{__name__}.function"})
    check_target("node", node, given=("first",))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("member=glob(sparse_*)", "member=sparse_doped,sparse_factorized,sparse_mine,sparse_parallel,sparse_wide"),
        ("member=glob(sparse_*,exclude=[*ed,*mine])", "member=sparse_parallel,sparse_wide"),
        ("experiment=glob(cifar100/resnet18_s*c)", "experiment=cifar100/resnet18_static"),
        ("experiment/cifar100=glob(botnet*)", "experiment/cifar100=botnet26,botnet50"),
        ("sparsifier@sparsifier.then=glob(set*)", "sparsifier@sparsifier.then=set,set_itop"),
        ("sparsity=glob(er*)", "sparsity=er,erk"),
        ("seed=glob(*)", "seed=glob(*)"),
    ],
)
def test_globs_select_choices(typed: str, meant: str, tmp_path: Path) -> None:
    (tmp_path / "member").mkdir()
    (tmp_path / "member/sparse_mine.yaml").touch()
    assert plain_choice(typed, [tmp_path]) == meant
