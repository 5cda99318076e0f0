"""The backend that chooses by time, with times that the test gives."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparseift import Masks, UserError
from sparseift.backends import Auto, auto, choices
from sparseift.backends.auto import ChoosingLayer
from sparseift.backends.sparse import SparseLayer
from sparseift.masks.patterns import Unstructured


def network() -> tuple[nn.Sequential, nn.Sequential, Masks, Masks]:
    """Two equal networks with equal masks: a convolution, which the test lets be faster densely, and a linear."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 2))
    masks = Masks(net, {name: torch.rand_like(net[int(name)].weight) < 0.3 for name in ("0", "3")})
    masks.apply()
    other = copy.deepcopy(net)
    return net, other, masks, Masks(other, {name: masks[name] for name in masks})


@pytest.fixture
def times(monkeypatch, tmp_path) -> list[tuple[str, int]]:
    """What was measured: the kind of layer, and the batch size. Convolutions are faster densely, linears sparsely."""
    taken = []

    def fake(layer: ChoosingLayer, size: torch.Size) -> dict:
        taken.append((type(layer).__name__, size[0]))
        return {"chosen": "masked" if isinstance(layer, nn.Conv2d) else "sparse", "seconds": {}}

    monkeypatch.setattr(auto, "measured", fake)
    monkeypatch.setattr(auto, "cache_folder", lambda: tmp_path)
    return taken


def gradients(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    net(x).square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


def test_it_computes_as_masked_does(times) -> None:
    net, dense, masks, of_dense = network()
    backend, x = Auto(), torch.randn(6, 3, 4, 4)
    backend.attach(net, masks)
    state = torch.get_rng_state()
    backend.dense_gradients(False)
    gradients(net, x)
    assert times == [("ChoosingConv2d", 6), ("ChoosingLinear", 6)] and torch.equal(torch.get_rng_state(), state)
    assert net[0].weight.grad[~masks["0"]].any() and not net[3].weight.grad[~masks["3"]].any()
    backend.mask_gradients()
    gradients(dense, x)
    of_dense.mask_gradients()
    for ours, theirs in zip(net.parameters(), dense.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    backend.dense_gradients(True)
    assert gradients(net, x)["3.weight"][~masks["3"]].any()


def test_a_choice_is_made_once_for_a_size_and_a_density(times) -> None:
    net, _, masks, _ = network()
    backend = Auto()
    backend.attach(net, masks)
    for batch in (6, 6, 5, 6):
        net(torch.randn(batch, 3, 4, 4))
    first = [("ChoosingConv2d", 6), ("ChoosingLinear", 6), ("ChoosingConv2d", 5), ("ChoosingLinear", 5)]
    assert times == first
    masks.move("3", masks["3"].roll(1, 1), ())  # of the same density
    backend.moved(["3"])
    net(torch.randn(6, 3, 4, 4))
    assert times == first
    masks.move("3", masks["3"] & (torch.rand(24, 32) < 0.5), ())
    backend.moved(["3"])
    net(torch.randn(6, 3, 4, 4))
    assert times == [*first, ("ChoosingLinear", 6)]

    backend.detach(net)
    again = Auto()  # as a resumed process
    again.attach(net, masks)
    net(torch.randn(6, 3, 4, 4))
    assert len(times) == len(first) + 1
    assert not net[0].choices[torch.Size([6, 3, 4, 4])] and net[3].choices[torch.Size([6, 32])]


def test_detaching_restores_the_modules(times) -> None:
    net, other, masks, _ = network()
    backend = Auto()
    backend.attach(net, masks)
    net(torch.randn(6, 3, 4, 4))
    backend.detach(net)
    before = {name: (type(module), set(vars(module))) for name, module in other.named_modules()}
    assert {name: (type(module), set(vars(module))) for name, module in net.named_modules()} == before


def test_mixed_precision_is_masked(times) -> None:
    net, dense, masks, _ = network()
    Auto().attach(net, masks)
    x = torch.randn(6, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(x), dense(x))
    assert times == []


def test_without_kernels_it_is_masked(monkeypatch) -> None:
    def no_compiler() -> None:
        raise UserError("the sparse kernels need a C++ compiler")

    monkeypatch.setattr("sparseift.backends.sparse.load", no_compiler)
    net, dense, masks, _ = network()
    backend, x = Auto(), torch.randn(6, 3, 4, 4)
    assert backend.refusal(net[0], Unstructured()) == "the sparse kernels need a C++ compiler"
    backend.attach(net, masks)
    assert not any(isinstance(module, SparseLayer) for module in net.modules())
    assert torch.equal(net(x), dense(x))
    gradients(net, x)
    backend.mask_gradients()
    assert not any(weight.grad[~masks[name]].any() for name, weight in masks.weights.items())
    backend.moved(["0"])
    backend.detach(net)


def test_other_types_are_masked_with_one_warning() -> None:
    net, dense, masks, _ = network()
    masks = Masks(net.double(), {name: masks[name] for name in masks})
    with pytest.warns(UserWarning, match="backend Auto leaves all layers to dense kernels: 0 is torch.float64 on cpu"):
        Auto().attach(net, masks)
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    assert torch.equal(net(x), dense.double()(x))


def test_a_real_measurement_changes_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(auto, "cache_folder", lambda: tmp_path)
    net, dense, masks, _ = network()
    backend, x = Auto(), torch.randn(6, 3, 4, 4)
    backend.attach(net, masks)
    net[0].weight.grad = torch.ones_like(net[0].weight)
    state = torch.get_rng_state()
    with torch.inference_mode():
        assert torch.allclose(net(x), dense(x), rtol=1e-4, atol=1e-5)
    assert (net[0].weight.grad == 1).all() and net[3].weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)
    written = [json.loads(path.read_text()) for path in (tmp_path / "choices").iterdir()]
    assert len(written) == 2
    for choice in written:
        masked, sparse = choice["seconds"]["masked"], choice["seconds"]["sparse"]
        assert choice["chosen"] == ("sparse" if sparse < 0.9 * masked else "masked")


@pytest.mark.parametrize(("sparse", "chosen"), [(0.5, "sparse"), (0.96, "sparse"), (0.98, "masked"), (2, "masked")])
def test_the_shortest_of_turns_counts(sparse: float, chosen: str) -> None:
    now, order = [0.0], []
    slow = iter([3, 1, 2, 1, 1, 5, 1, 1])  # other programs

    def way(name: str, seconds: float):
        def run() -> None:
            order.append(name)
            now[0] += seconds * next(slow)

        return run

    found = choices.faster({"masked": way("masked", 1), "sparse": way("sparse", sparse)}, 0.03, lambda: now[0])
    assert found == {"chosen": chosen, "seconds": {"masked": 1, "sparse": pytest.approx(sparse)}}
    assert order == ["masked", "sparse"] * 4


def test_choices_on_disk(tmp_path: Path) -> None:
    made = []

    def choose() -> dict:
        made.append(1)
        return {"chosen": "sparse" if len(made) % 2 else "masked", "seconds": {}}

    assert choices.kept(tmp_path / "new", {"size": 1}, choose) == "sparse"
    assert choices.kept(tmp_path / "new", {"size": 1}, choose) == "sparse" and len(made) == 1
    assert choices.kept(tmp_path / "new", {"size": 2}, choose) == "masked"
    for path in (tmp_path / "new").iterdir():
        path.write_text("{")
    assert choices.kept(tmp_path / "new", {"size": 1}, choose) == "sparse"  # of a damaged file, made again
    assert choices.kept(tmp_path / "new", {"size": 1}, choose) == "sparse" and len(made) == 3

    def later() -> dict:
        """Another process is faster."""
        choices.kept(tmp_path / "race", {}, lambda: {"chosen": "sparse", "seconds": {}})
        return {"chosen": "masked", "seconds": {}}

    assert choices.kept(tmp_path / "race", {}, later) == "sparse"
    (tmp_path / "file").write_text("")
    assert choices.kept(tmp_path / "file", {}, choose) in ("masked", "sparse")  # not a folder
    assert not list(tmp_path.rglob("*.tmp"))
