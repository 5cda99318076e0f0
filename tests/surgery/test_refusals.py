"""Exceptions while a network is widened: those of its own code are refusals, those of this package are not."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import UserError, transform
from sparseift.graph.meta_kernels import ANSWERS

from .networks import HeadsFirst, Wrapped, X


class Raises(Wrapped):
    """A network whose code raises an exception at other widths."""

    def build(self, width: int) -> None:
        self.end = nn.Conv2d(width, width, 1)

    def middle(self, x: Tensor) -> Tensor:
        if x.shape[1] != 8:
            raise self.error
        return self.end(x)


ERRORS = [AssertionError("eight"), KeyError("eight"), AttributeError("eight"), ZeroDivisionError("eight")]


@pytest.mark.parametrize("error", ERRORS)
def test_an_exception_of_the_network_s_code_is_a_refusal(error: Exception) -> None:
    net = Raises(8)
    net.error = error
    with pytest.raises(UserError, match=r"^sparse_wide can't widen the network \(Raises\): .*eight"):
        transform(net, "sparse_wide", 0.75, X)


class Catches(Wrapped):
    """A network whose code catches the exceptions of its layers."""

    def build(self, width: int) -> None:
        self.end = nn.Conv2d(width, width, 1)

    def middle(self, x: Tensor) -> Tensor:
        try:
            return self.end(x)
        except Exception:
            return x


class Replaces(Catches):
    """A network whose code replaces the exceptions of its layers by another one."""

    def middle(self, x: Tensor) -> Tensor:
        try:
            return self.end(x)
        except:  # noqa: E722
            raise ValueError("its own") from None


@pytest.mark.parametrize("net", [HeadsFirst, Catches, Replaces])
@pytest.mark.parametrize("error", [*ERRORS, RuntimeError("eight")])
@pytest.mark.parametrize("place", ["fitting.resize_layer_", "reference_run.shapes"])
def test_an_exception_of_this_package_s_code_is_not_a_refusal(
    place: str, error: Exception, net: type[Wrapped], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_, **__):
        raise error

    monkeypatch.setattr(f"sparseift.surgery.{place}", fault)
    with pytest.raises(type(error)) as raised:
        transform(net(8), "sparse_wide", 0.75, X)
    assert raised.value is error


def test_an_exception_of_a_shape_rule_is_not_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_, **__):
        raise RuntimeError("ours")

    monkeypatch.setitem(ANSWERS, F.linear, fault)
    with pytest.raises(RuntimeError, match="ours"):
        transform(HeadsFirst(8), "sparse_wide", 0.75, X)


class Convolved(Wrapped):
    def build(self, width: int) -> None:
        self.end, self.runs = nn.Conv2d(width, width, 1), 5

    def middle(self, x: Tensor) -> Tensor:
        return self.end(x)


class RunsOnce(Convolved):
    def middle(self, x: Tensor) -> Tensor:
        self.runs += 1
        if self.runs > 6:
            raise RuntimeError("six\nruns")
        return self.end(x)


class MakesLayer(Convolved):
    def middle(self, x: Tensor) -> Tensor:
        if not hasattr(self, "made"):
            self.made = nn.Conv2d(8, 8, 1, device=x.device)
        return self.end(self.made(x))


class FallsBack(Convolved):
    """A network whose code catches the exception of a layer that always raises one."""

    def build(self, width: int) -> None:
        super().build(width)
        self.broken = nn.Conv2d(5, 5, 1)

    def middle(self, x: Tensor) -> Tensor:
        try:
            return self.broken(x)
        except RuntimeError:
            return self.end(x)


REFUSED = {
    RunsOnce: r"^sparse_wide can't widen the network \(RunsOnce\): six$",
    MakesLayer: "^the network makes made.weight in its first run; run it once before",
    FallsBack: "^sparse_wide can't widen broken: its call fails with the example",
}


@pytest.mark.parametrize("net", REFUSED)
def test_networks_that_cannot_run_twice_or_make_or_break_layers_are_refused(net: type[Wrapped]) -> None:
    with pytest.raises(UserError, match=REFUSED[net]) as refusal:
        transform(net(8), "sparse_wide", 0.75, X)
    assert "\n" not in str(refusal.value)


class Counts(Convolved):
    """A network whose code counts its runs, and makes a buffer in the first one."""

    def middle(self, x: Tensor) -> Tensor:
        self.runs += 1
        if not hasattr(self, "table"):
            self.register_buffer("table", torch.ones(1, 1, *x.shape[2:], device=x.device))
        return self.end(x + self.table)


def test_counters_and_buffers_that_the_code_makes_are_left_alone() -> None:
    new = transform(Counts(8), "sparse_wide", 0.75, X)
    assert new.runs == 5 and not hasattr(new, "table")
    assert new(X).shape == (2, 5) and new.runs == 6


def test_hooks_of_the_network_run() -> None:
    net = Convolved(8)
    net.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    new, wide = transform(net, "sparse_wide", 0.75, X), Convolved(16)
    wide.load_state_dict(new.state_dict())
    torch.testing.assert_close(new(X), wide(2 * X), rtol=0, atol=0)
