"""Strategies of Lightning with which masks would have no effect."""

import pytest
from pytorch_lightning import strategies

from sparseift import UserError
from sparseift.training.strategies import check_strategy

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
