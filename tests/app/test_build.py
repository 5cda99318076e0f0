"""Configs become the objects that they name."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import nn

from sparseift import UserError
from sparseift.app.build import build_network, build_run, make, make_optimizer
from sparseift.app.checks import check_run, check_values
from sparseift.app.overrides import config_folder
from sparseift.backends import Masked
from sparseift.masks.patterns import Unstructured
from sparseift.sparsity import Plan

SMALL = ("dataset=digits", "trainer=cpu", "model.base_width=4")


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [*SMALL, *overrides])


def test_example_has_the_shape_of_the_data_and_no_values() -> None:
    example = make(composed("dataset=synthetic", "dataset.image_size=20").task).example()
    assert example.shape == (1, 3, 20, 20) and example.is_meta


def test_shapes_alone_and_values_have_the_same_plan() -> None:
    shapes, plan = build_network(composed(), on_meta=True)
    values, same = build_network(composed(), on_meta=False)
    assert plan == same
    assert all(parameter.is_meta for parameter in shapes.parameters())
    assert not any(parameter.is_meta for parameter in values.parameters())


@pytest.mark.parametrize("member", ["dense", "sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_networks_are_ready_to_train(member: str) -> None:
    net, _ = build_network(composed(f"member={member}", "sparsifier=rigl"), on_meta=False)
    assert all(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("member", ["dense", "sparse_wide"])
def test_no_sparsifier_no_masks(member: str) -> None:
    _, plan = build_network(composed(f"member={member}", "sparsifier=none"), on_meta=True)
    assert not plan.masked and plan.forward == plan.forward_stored


@pytest.mark.parametrize("sparsifier", ["none", "static", "rigl"])
def test_a_run(tmp_path: Path, sparsifier: str) -> None:
    run = build_run(composed(f"sparsifier={sparsifier}", "seed=3"), tmp_path, {"seed": 3})
    assert (run.masks is None) == (sparsifier == "none")
    assert run.module.net is run.net
    for name in run.masks or ():
        weight = run.net.get_submodule(name).weight
        assert int(run.masks[name].sum()) == run.plan.masked[name].active
        assert weight.shape == run.plan.masked[name].shape
    assert list(tmp_path.iterdir()) == []


def test_the_seed_decides(tmp_path: Path) -> None:
    def drawn(seed: int) -> tuple[str, torch.Tensor]:
        run = build_run(composed(f"seed={seed}"), tmp_path, {})
        return run.masks.sha256(), run.net.conv1.weight

    (masks, weight), (same_masks, same), (other_masks, other) = drawn(1), drawn(1), drawn(2)
    assert masks == same_masks and torch.equal(weight, same)
    assert masks != other_masks and not torch.equal(weight, other)


def test_the_same_weights_for_every_sparsifier(tmp_path: Path) -> None:
    """Runs that are compared start from one network."""
    weights = [build_run(composed(f"sparsifier={name}"), tmp_path, {}).net.fc.weight for name in ("static", "rigl")]
    assert torch.equal(*weights)


def test_missing_data_is_told_before_the_network_is_built(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sparseift.app.build._network", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(UserError, match=f"^no folder {tmp_path}/train: "):
        build_run(composed("dataset=imagenet", f"dataset.root={tmp_path}"), tmp_path, {})


class Mistaken(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        if kind == "user":
            raise UserError("width is 0; 1 or more is meant")
        raise RuntimeError("no\nsuch thing")


@pytest.mark.parametrize(("kind", "told"), [("user", "^width is 0; 1 or more is meant$"), ("other", "no.*such thing")])
def test_failures_of_a_constructor_are_told_in_one_line(monkeypatch, kind: str, told: str) -> None:
    monkeypatch.setattr(nn, "Mistaken", Mistaken, raising=False)
    with pytest.raises(UserError, match=told) as error:
        make(DictConfig({"_target_": "torch.nn.Mistaken", "kind": kind}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "override",
    [
        "sparsity.level=abc",
        "recipe.epochs=0",
        "recipe.epochs=1.5",
        "seed=-1",
        "seed=x",
        "recipe.scheduler_interval=day",
        "dataset.val_size=many",
        "checkpoint.every_n_steps=0",
        "checkpoint.test=first",
    ],
)
def test_values_that_would_fail_later(override: str) -> None:
    config = composed(override)
    with pytest.raises(UserError, match=override.partition("=")[0].replace(".", r"\.")):
        check_values(config)
        check_run(config)


@pytest.mark.parametrize(
    ("overrides", "fused"),
    [
        ((), True),
        (("trainer.gradient_clip_val=1",), True),
        (("trainer.precision=bf16-mixed",), True),
        (("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1"), False),
        (("trainer.precision=16-mixed",), False),
        (("+recipe.optimizer.fused=false",), False),
        (("+recipe.optimizer.foreach=true",), None),
        (("recipe.optimizer._target_=torch.optim.RMSprop", "~recipe.optimizer.nesterov"), None),
    ],
    ids=["plain", "clipped", "bf16", "clipped bf16", "scaled", "refused", "foreach", "without"],
)
def test_the_optimizer_takes_a_fused_step_where_it_can(overrides: tuple[str, ...], fused: bool | None) -> None:
    optimizer = make_optimizer(composed(*overrides), nn.Linear(2, 2))([nn.Parameter(torch.ones(2))])
    assert bool(optimizer.defaults.get("fused")) == bool(fused)
    assert getattr(optimizer, "_step_supports_amp_scaling", False) == bool(fused)


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ("model", "Module"),
        ("pattern", "Pattern"),
        ("backend", "Backend"),
        ("sparsifier", "Sparsifier"),
        ("dataset", "LightningDataModule"),
    ],
)
def test_a_class_of_another_kind_is_told_in_one_line(group: str, kind: str, tmp_path: Path) -> None:
    config = composed("sparsifier=static")
    config[group] = {**config[group], "_target_": "builtins.dict"}
    with pytest.raises(
        UserError, match=f"^{group}._target_ is 'builtins.dict'; expected a target that returns a {kind}$"
    ):
        build_run(config, tmp_path, {})


def test_a_data_module_without_loaders_is_refused_before_training(tmp_path: Path) -> None:
    config = composed()
    config.dataset = {**config.dataset, "_target_": f"{__name__}.WithoutLoaders"}
    with pytest.raises(UserError, match="; expected a data module with train_dataloader, val_dataloader, test_dat"):
        build_run(config, tmp_path, {})


def test_a_data_set_need_not_tell_the_size_of_its_validation_set() -> None:
    config = composed("checkpoint.test=best")
    config.dataset, config.model = {"_target_": "mine.Data"}, {"_target_": "mine.Net"}
    check_run(config)


class WithoutLoaders(pl.LightningDataModule):
    def __init__(self, **options: object):
        super().__init__()


class Planless(Unstructured):
    def plan(self, plan: Plan) -> Plan:
        return None  # type: ignore[return-value]


class Unattachable(Masked):
    def attach(self, net: nn.Module, masks: object) -> None:
        raise KeyError("kernel")


def test_a_pattern_without_a_plan_is_told_in_one_line() -> None:
    config = composed("sparsifier=static")
    config.pattern = {"_target_": f"{__name__}.Planless"}
    with pytest.raises(UserError, match=r"^the plan of pattern Planless is None; expected"):
        build_network(config, on_meta=True)


def test_a_backend_that_cannot_be_attached_is_told_in_one_line(tmp_path: Path) -> None:
    config = composed("sparsifier=static", "logger=none", "recipe.epochs=1")
    config.backend = {"_target_": f"{__name__}.Unattachable"}
    run = build_run(config, tmp_path, {})
    with pytest.raises(UserError, match=r"^backend Unattachable cannot be attached: 'kernel'$"):
        run.trainer.fit(run.module, run.data)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("trainer.devices=1000", r"^trainer\.devices is 1000; expected an integer from 1 to \d+$"),
        (
            "trainer.gradient_clip_val=x",
            r"^trainer\.gradient_clip_val is 'x'; expected an integer or a number",
        ),
        ("callbacks.topology._target_=nowhere.X", r"^callbacks\.topology\._target_ is 'nowhere\.X'; expected"),
        ("+member.zzz=1", r"^there is no option 'member\.zzz'; "),
        ("dataset.batch_size=2000", r"^dataset\.batch_size is 2000; expected an integer <= 1238"),
    ],
)
def test_mistakes_are_told_before_the_network_is_built(tmp_path: Path, monkeypatch, override: str, told: str) -> None:
    monkeypatch.setattr("sparseift.app.build._network", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(UserError, match=told):
        build_run(composed(override), tmp_path, {})
    assert list(tmp_path.iterdir()) == []
