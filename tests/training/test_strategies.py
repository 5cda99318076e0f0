"""Strategies of Lightning with which masks would have no effect."""

import pytest
from pytorch_lightning import strategies

from sparseift import UserError
from sparseift.training.strategies import DDP, check_strategy, with_views

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
        UserError, match=f"^trainer.strategy is '{name}'; expected auto or ddp: masks need whole"
    ) as error:
        check_strategy(made(name))
    assert "\n" not in str(error.value)


def test_every_strategy_is_known() -> None:
    abstract = {"ParallelStrategy", "Strategy"}
    assert set(strategies.__all__) == {*WHOLE, *SHARDED, *abstract}


@pytest.mark.parametrize(("name", "devices"), [*((name, 1) for name in DDP), ("auto", 2)])
def test_gradients_are_views_of_what_is_sent(name: str, devices: int) -> None:
    strategy = with_views(name, devices)
    assert isinstance(strategy, strategies.DDPStrategy)
    used = {"find_unused_parameters": name.endswith("true"), "gradient_as_bucket_view": True}
    assert strategy._ddp_kwargs == used


@pytest.mark.parametrize("name", ["auto", "fsdp", "ddp_spawn", object()])
def test_other_strategies_stay(name: object) -> None:
    assert with_views(name, 1) is name
