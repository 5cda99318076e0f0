"""Strategies of Lightning with which masks would have no effect."""

import pytest
from pytorch_lightning import strategies
from torch import nn

from sparseift import UserError
from sparseift.training.sharding import Sharded, separable
from sparseift.training.strategies import DDP, check_strategy, with_options

WHOLE = ("SingleDeviceStrategy", "DDPStrategy")
SHARDED = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")


def made(name: str) -> strategies.Strategy:
    """Without its constructor, which needs the devices and libraries."""
    return object.__new__(getattr(strategies, name))


@pytest.mark.parametrize("name", WHOLE)
def test_whole_parameters(name: str) -> None:
    check_strategy(made(name))


@pytest.mark.parametrize("name", SHARDED)
def test_sharded_parameters_are_refused(name: str) -> None:
    with pytest.raises(
        UserError, match=f"^trainer.strategy is '{name}'; expected auto, ddp or fsdp, with which"
    ) as error:
        check_strategy(made(name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("devices", [1, 2])
def test_fsdp_is_a_strategy_of_this_package(devices: int) -> None:
    strategy = with_options("fsdp", devices, ["0", "2"])
    assert isinstance(strategy, Sharded) and strategy.layers == ("0", "2")
    check_strategy(strategy)


def test_layers_that_share_a_parameter_are_gathered_with_the_rest() -> None:
    net = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    net[2].weight = net[0].weight
    assert separable(net, ["0", "1", "2"]) == ["1"]


def test_every_strategy_is_known() -> None:
    abstract = {"ParallelStrategy", "Strategy"}
    assert set(strategies.__all__) == {*WHOLE, *SHARDED, *abstract}


@pytest.mark.parametrize(("name", "devices"), [*((name, 1) for name in DDP), ("auto", 2)])
def test_gradients_are_views_of_what_is_sent(name: str, devices: int) -> None:
    strategy = with_options(name, devices)
    assert isinstance(strategy, strategies.DDPStrategy)
    used = {"find_unused_parameters": name.endswith("true"), "gradient_as_bucket_view": True}
    assert strategy._ddp_kwargs == used


@pytest.mark.parametrize("name", ["auto", "fsdp_cpu_offload", "ddp_spawn", object()])
def test_other_strategies_stay(name: object) -> None:
    assert with_options(name, 1) is name
