"""Deferred tensors: what a network computes with them, whatever it does with them, is what torch computes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sparseift.backends.sparse import COMPUTED_BY
from sparseift.kernels import Deferred

CHANNELS = 6


def sparse(layer: nn.Conv2d, density: float = 0.5) -> nn.Conv2d:
    """A convolution whose weights are zero outside of a random mask, computed by the kernels."""
    mask = torch.rand_like(layer.weight) < density
    layer.weight.data *= mask
    layer.__class__ = COMPUTED_BY[nn.Conv2d]
    layer.follow(mask)
    return layer


def norm(**options: bool | float | None) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(CHANNELS, **options)
    if layer.affine:
        nn.init.uniform_(layer.weight, 0.5, 1.5)
        nn.init.normal_(layer.bias)
    return layer


class Net(nn.Module):
    """Two convolutions, and a function of their outputs and of the modules between them."""

    def __init__(self, function: Callable[..., Tensor], **options: bool | float | None) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False)
        self.second = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.norm, self.other_norm = norm(**options), norm(**options)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Doubled(torch.autograd.Function):
    """A function that torch does not let tensor classes intercept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Squared(torch.autograd.Function):
    """A function that keeps its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x * 2


def residual(net: Net, x: Tensor) -> Tensor:
    shortcut = F.relu(net.norm(net.first(x)))
    out = F.relu(net.other_norm(net.second(shortcut)), inplace=True)
    out = net.norm(net.second(out))
    out += shortcut
    return net.second(F.relu(out, inplace=True))


def projected(net: Net, x: Tensor) -> Tensor:
    """Two normalized tensors are added, and two convolutions read the sum."""
    out = (net.norm(net.first(x)) + net.other_norm(net.second(net.first(x)))).relu()
    return net.second(out) + net.norm(net.second(out))


def before_activation(net: Net, x: Tensor) -> Tensor:
    """As in pre-activation networks, where the shortcut sees what an activation does in place."""
    out = net.first(x)
    return out + net.second(net.norm(out).relu_()) + net.second(torch.relu(out))


def of_all_kinds(net: Net, x: Tensor) -> Tensor:
    """Functions that defer nothing, between those that do."""
    out = net.norm(net.first(x))
    out = F.max_pool2d(out, 2) * 0.5 + out.mean((2, 3), keepdim=True)
    out = net.second(torch.cat([out, out])[: len(x)]).add(1.0)
    return net.second(torch.add(out, net.other_norm(out), alpha=2))


def views_and_changes(net: Net, x: Tensor) -> Tensor:
    """Views see what is later changed in place."""
    out = net.norm(net.first(x))
    view = out.flatten(2)
    out *= 2
    out += 1
    return net.second(out) + view.view_as(out)


def plain_tensors(net: Net, x: Tensor) -> Tensor:
    """Sums with tensors that are changed in place afterwards, or that are broadcast."""
    added = torch.ones(len(x), CHANNELS, *x.shape[2:])
    out = added + net.norm(net.first(x))
    added.mul_(3)
    added += net.second(out)
    return net.second(out + out[:1]) + added


def hidden(net: Net, x: Tensor) -> Tensor:
    out = Doubled.apply(net.norm(net.first(x)).relu())
    return net.second(out) + Squared.apply(net.norm(net.second(out)))


def checkpointed(net: Net, x: Tensor) -> Tensor:
    """Parts that the backward pass computes again."""

    def part(x: Tensor) -> Tensor:
        return net.second(net.norm(x).relu())

    return sum(checkpoint(part, net.first(x), use_reentrant=reentrant) for reentrant in (False, True))


def watched(net: Net, x: Tensor) -> Tensor:
    """Code that only looks at tensors, without gradients, leaves those of others as they are."""
    out = net.norm(net.first(x))
    with torch.no_grad():
        net.second(out.relu())
        assert not (out.mean().requires_grad or net.norm(out).requires_grad or (out + out).requires_grad)
    shortcut = F.relu(net.norm(net.second(out)) + out)
    with torch.no_grad():
        net.second(shortcut)
        assert not Doubled.apply(shortcut).requires_grad
    return net.second(shortcut) + shortcut


def normalized_twice(net: Net, x: Tensor) -> Tensor:
    return net.second(net.other_norm(net.norm(net.first(x)).relu()) + net.norm(x.mean() + net.first(x)))


FUNCTIONS = (
    residual,
    projected,
    before_activation,
    of_all_kinds,
    views_and_changes,
    plain_tensors,
    hidden,
    checkpointed,
    watched,
    normalized_twice,
)


def results(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    output = net(x)
    (output * torch.linspace(-1, 1, output.numel(), dtype=x.dtype).view_as(output)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    buffers = {name: buffer.to(x.dtype) for name, buffer in net.named_buffers()}
    return {"output": output.detach() * 1, "input": x.grad, **gradients, **buffers}


def check(net: Net, x: Tensor) -> None:
    """Compare with the same network of torch's layers in float64, whose float32 sets the tolerance."""
    usual = copy.deepcopy(net)
    net.first, net.second = sparse(net.first), sparse(net.second)
    masks = {"first.weight": net.first._mask, "second.weight": net.second._mask}
    usual.load_state_dict(net.state_dict())
    exact = copy.deepcopy(usual).double()
    ours, torchs, true = results(net, x), results(usual, x), results(exact, x.double())
    assert ours.keys() == true.keys()
    for name, value in ours.items():
        mask = masks.get(name, torch.ones(()))
        error, of_torch = ((mask * (one - true[name])).norm() for one in (value, torchs[name]))
        assert not (value * (mask == 0)).any(), name
        assert error <= 2 * of_torch + 1e-5 * true[name].norm(), name


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("batch", [1, 7, 32])
def test_networks(function: Callable[..., Tensor], batch: int) -> None:
    torch.manual_seed(batch)
    check(Net(function), torch.randn(batch, 3, 6, 10))


@pytest.mark.parametrize(
    "options",
    [{"momentum": None}, {"track_running_stats": False}, {"affine": False}, {"eps": 0.1, "momentum": 0.3}],
)
@pytest.mark.parametrize("training", [True, False])
def test_norms(options: dict, training: bool) -> None:
    torch.manual_seed(0)
    net = Net(residual, **options)
    net(torch.randn(4, 3, 6, 10))  # leaves running statistics
    check(net.train(training), torch.randn(5, 3, 6, 10))


def test_frozen_norms_and_weights() -> None:
    torch.manual_seed(0)
    net = Net(residual)
    net.norm.eval()
    for parameter in (net.second.weight, *net.other_norm.parameters()):
        parameter.requires_grad = False
    check(net, torch.randn(5, 3, 6, 10))


def test_no_samples() -> None:
    net = Net(residual).eval()
    net.first, net.second = sparse(net.first), sparse(net.second)
    found = results(net, torch.randn(0, 3, 6, 10))
    assert found["output"].shape == (0, CHANNELS, 6, 10) and not found["second.weight"].any()


def test_channels_far_from_zero(instruction_set: str) -> None:
    """Moments about zero would lose most digits of the variance."""
    torch.manual_seed(0)
    net = Net(lambda net, x: net.second(net.norm(net.second(x).relu())))
    net.second.bias.data += 30
    check(net, torch.randn(20, CHANNELS, 9, 9))


def test_numbers_that_are_not_finite_stay() -> None:
    net = Net(residual)
    net.first, net.second = sparse(net.first), sparse(net.second)
    x = torch.randn(4, 3, 6, 6)
    x[0, 0, 3, 3] = torch.nan
    assert net(x).isnan().all()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads: int) -> None:
    torch.manual_seed(0)
    net = Net(residual)
    net.first, net.second = sparse(net.first), sparse(net.second)
    again, x, before = copy.deepcopy(net), torch.randn(40, 3, 9, 9), torch.get_num_threads()
    alone = results(net, x)
    try:
        torch.set_num_threads(threads)
        together = results(again, x)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(value, together[name]) for name, value in alone.items() if name != "input")


def test_hooks_of_modules() -> None:
    """Those of backward passes read tensors in C++."""
    torch.manual_seed(0)
    net, seen = Net(projected), []
    for module in (net.first, net.second, net.norm):
        module.register_full_backward_hook(lambda *_: seen.append("gradient"))
        module.register_forward_hook(lambda module, inputs, output: output * 1)
    check(net, torch.randn(5, 3, 6, 10))
    assert len(seen) == 3 * (2 + 3 + 2)


def test_a_change_in_place_that_gradients_would_miss_is_an_error() -> None:
    def changed(net: Net, x: Tensor) -> Tensor:
        return Doubled.apply(F.relu(net.norm(net.first(x)), inplace=True))

    def changed_ordinary(net: Net, x: Tensor) -> Tensor:
        out = net.first(x)
        out.mul_(2)
        return Doubled.apply(out)

    for function in (changed, changed_ordinary):
        net = Net(function)
        net.first = sparse(net.first)
        try:
            output = net(torch.randn(4, 3, 6, 6))
        except RuntimeError as error:
            assert "in place" in str(error)
        else:
            with pytest.raises(RuntimeError, match="changed in place"):
                output.sum().backward()


def test_it_looks_like_a_tensor() -> None:
    layer = sparse(nn.Conv2d(3, 4, 3))
    out = layer(torch.randn(2, 3, 5, 6))
    assert isinstance(out, Deferred) and out.operand is not None
    assert (out.shape, out.dim(), out.size(1), out.ndim, len(out)) == (torch.Size((2, 4, 3, 4)), 4, 4, 4, 2)
    assert (out.dtype, out.device.type, out.requires_grad, out.numel()) == (torch.float32, "cpu", True, 96)
    assert out.operand is not None  # none of these needs its values
    assert torch.equal(out.detach(), out.clone()) and out.operand is None
    assert type(out + 1) is Tensor and out.is_contiguous() and "grad_fn" in repr(out)
