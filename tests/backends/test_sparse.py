"""The sparse backend inside layers and optimizers: the same training as with masks, but for rounding."""

import copy

import pytest
import torch
from torch import Tensor, nn

from sparseift import Masks, UserError
from sparseift.backends import Sparse
from sparseift.backends.sparse import SparseLayer
from sparseift.masks.patterns import Unstructured


class Net(nn.Module):
    """All kinds of layers that the kernels compute, and one that they do not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.strided = nn.Conv2d(12, 16, 3, stride=2, padding=1, groups=2)
        self.padded = nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular")
        self.line = nn.Conv1d(16, 20, 3, padding="valid")
        self.linear = nn.Linear(20, 24)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.padded(self.strided(self.norm(self.stem(x)).relu()).relu())
        return self.head(self.linear(self.line(x.flatten(2)).mT).relu().mean(1))


COMPUTED = {"stem", "strided", "line", "linear"}


def networks() -> tuple[nn.Module, nn.Module, Masks, Masks]:
    """Two equal networks with equal masks."""
    torch.manual_seed(0)
    net = Net()
    masks = Masks(net, {name: torch.rand_like(net.get_submodule(name).weight) < 0.3 for name in (*COMPUTED, "padded")})
    masks.apply()
    other = copy.deepcopy(net)
    return net, other, masks, Masks(other, {name: masks[name] for name in masks})


def gradients(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    net(x).square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


def close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return all(torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4) for name in theirs)


def test_it_computes_the_same_and_masks_all_gradients() -> None:
    sparse, dense, masks, of_dense = networks()
    backend, x = Sparse(), torch.randn(7, 3, 8, 9)
    backend.attach(sparse, masks)
    assert {name for name, module in sparse.named_modules() if isinstance(module, SparseLayer)} == COMPUTED
    backend.dense_gradients(False)
    assert torch.allclose(sparse(x), dense(x), atol=1e-5)
    gradients(sparse, x)
    assert not any(sparse.get_submodule(name).weight.grad[~masks[name]].any() for name in COMPUTED)
    assert sparse.padded.weight.grad[~masks["padded"]].any()
    backend.mask_gradients()
    gradients(dense, x)
    of_dense.mask_gradients()
    both = [{name: parameter.grad for name, parameter in net.named_parameters()} for net in (sparse, dense)]
    assert close(*both)


def test_dense_gradients_and_moved_masks() -> None:
    sparse, dense, masks, of_dense = networks()
    backend, x = Sparse(), torch.randn(7, 3, 8, 9)
    backend.attach(sparse, masks)
    backend.dense_gradients(True)
    assert close(gradients(sparse, x), gradients(dense, x))
    backend.mask_gradients()
    assert not any(weight.grad[~masks[name]].any() for name, weight in masks.weights.items())
    backend.dense_gradients(False)
    for name in COMPUTED:
        new = torch.rand_like(masks.weights[name]) < 0.3
        for one in (masks, of_dense):
            one.move(name, new, ())
            one.weights[name].data[new] += 0.1
    gradients(sparse, x)  # with the earlier masks, which the backend still follows
    backend.moved(COMPUTED)
    backend.mask_gradients()
    assert not any(weight.grad[~masks[name]].any() for name, weight in masks.weights.items())
    assert torch.allclose(sparse(x), dense(x), atol=1e-5)


def test_a_dense_stem_is_computed_by_the_kernels() -> None:
    """Its output has their layout. It stays dense, and so do its gradients."""
    torch.manual_seed(0)
    stem, depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8)
    net = nn.Sequential(stem, nn.BatchNorm2d(8), nn.ReLU(), depthwise, nn.Conv2d(8, 8, 3), nn.Flatten())
    masks = Masks(net, {"4": torch.rand_like(net[4].weight) < 0.3})
    masks.apply()
    dense, backend, x = copy.deepcopy(net), Sparse(), torch.randn(7, 3, 8, 9)
    backend.attach(net, masks)
    assert isinstance(stem, SparseLayer) and not isinstance(depthwise, SparseLayer)
    backend.dense_gradients(True)
    assert close(gradients(net, x), gradients(dense, x))
    backend.dense_gradients(False)
    ours, theirs = gradients(net, x), gradients(dense, x)
    backend.mask_gradients()
    theirs["4.weight"] *= masks["4"]
    assert close(ours, theirs) and ours["0.weight"].all()
    backend.detach(net)
    assert type(stem) is nn.Conv2d


def test_a_network_without_masked_convolutions_keeps_its_stem() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 4))
    Sparse().attach(net, Masks(net, {"2": torch.rand_like(net[2].weight) < 0.5}))
    assert type(net[0]) is nn.Conv2d


def test_detaching_restores_the_modules() -> None:
    sparse, dense, masks, _ = networks()
    backend = Sparse()
    before = {name: (type(module), set(vars(module))) for name, module in dense.named_modules()}
    backend.attach(sparse, masks)
    backend.detach(sparse)
    assert {name: (type(module), set(vars(module))) for name, module in sparse.named_modules()} == before


def test_weights_in_channels_last() -> None:
    sparse, dense, masks, _ = networks()
    backend, x = Sparse(), torch.randn(7, 3, 8, 9)
    sparse.to(memory_format=torch.channels_last)
    masks.to_weights()
    backend.attach(sparse, masks)
    assert torch.allclose(sparse(x), dense(x), atol=1e-5)
    assert all(
        parameter.grad is None or parameter.grad.stride() == parameter.stride() for parameter in sparse.parameters()
    )
    gradients(sparse, x)
    assert not any(sparse.get_submodule(name).weight.grad[~masks[name]].any() for name in COMPUTED)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(2, 2, 3, padding="same"), "its padding is 'same'; expected numbers or 'valid'"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), "its padding mode is reflect; expected zeros"),
        (nn.Conv3d(2, 2, 3), "it is a Conv3d; expected Conv1d, Conv2d, Linear"),
    ],
)
def test_refusals(layer: nn.Module, reason: str) -> None:
    assert Sparse().refusal(layer, Unstructured()) == reason


def test_a_resumed_process_computes_the_same_bits() -> None:
    """A new index of moved masks is the same as that of the process that moved them."""
    first, _, masks, _ = networks()
    backend, x = Sparse(), torch.randn(7, 3, 8, 9)
    backend.attach(first, masks)
    gradients(first, x)
    for name in COMPUTED:
        masks.move(name, torch.rand_like(masks.weights[name]) < 0.3, ())
    backend.moved(COMPUTED)
    resumed, _, of_resumed, _ = networks()
    resumed.load_state_dict(first.state_dict())
    of_resumed.load_state_dict(masks.state_dict(), masks.active)
    Sparse().attach(resumed, of_resumed)
    ours, again = gradients(first, x), gradients(resumed, x)
    assert all(torch.equal(ours[name], again[name]) for name in again)


@pytest.mark.parametrize("batch", [1, 2])
def test_outputs_may_be_changed_in_place(batch: int) -> None:
    """As by nn.ReLU(inplace=True), also where both layouts are the same."""
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 2), nn.ReLU(inplace=True)
    )
    masks = Masks(layers, {name: torch.rand_like(layers[int(name)].weight) < 0.5 for name in ("0", "3")})
    masks.apply()
    dense, x = copy.deepcopy(layers), torch.randn(batch, 3, 4, 4)
    Sparse().attach(layers, masks)
    assert torch.allclose(layers(x), dense(x), atol=1e-5)
    ours, theirs = gradients(layers, x), gradients(dense, x)
    assert all(torch.allclose(ours[name], theirs[name] * (ours[name] != 0), atol=1e-4) for name in theirs)


def test_other_precisions_are_refused() -> None:
    sparse, _, masks, _ = networks()
    Sparse().attach(sparse, masks)
    with pytest.raises(UserError, match=r"expected trainer\.precision=32-true"), torch.autocast("cpu", torch.bfloat16):
        sparse(torch.randn(2, 3, 8, 9))
    double, _, masks, _ = networks()
    with pytest.raises(UserError, match="expected float32 on a CPU"):
        Sparse().attach(double.double(), masks)
