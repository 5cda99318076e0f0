"""What optimizers keep for grown weights, against what they give new parameters."""

from collections.abc import Callable
from typing import Any

import pytest
import timm.optim
import torch
from torch import Tensor, nn, optim

from sparseift import Masks, UserError
from sparseift.masks.optimizers import ELEMENTWISE, keeps_zeros

SHAPE = (6, 4)
CASES: dict[str, tuple[type[optim.Optimizer], dict[str, Any]]] = {
    "SGD": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "SGD fused": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "fused": True}),
    "Adam": (optim.Adam, {"lr": 0.1, "amsgrad": True}),
    "AdamW": (optim.AdamW, {"lr": 0.1, "fused": True}),
    "Adamax": (optim.Adamax, {"lr": 0.1}),
    "NAdam": (optim.NAdam, {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    "RAdam": (optim.RAdam, {"lr": 0.1}),
    "Adagrad": (optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.5}),
    "Adadelta": (optim.Adadelta, {"lr": 1.0}),
    "ASGD": (optim.ASGD, {"lr": 0.1, "t0": 1}),
    "RMSprop": (optim.RMSprop, {"lr": 0.1, "centered": True, "momentum": 0.9}),
    "Rprop": (optim.Rprop, {"lr": 0.03}),
}
START = {"Adagrad": {"sum": 0.5}, "Rprop": {"step_size": 0.03}}
"""State of a new parameter that is not zero."""


def grow(make: Callable[..., optim.Optimizer], steps: int = 6) -> tuple[nn.Linear, optim.Optimizer, Tensor, Tensor]:
    """Train a layer, and move its mask. Returns the layer, the optimizer, the grown weights, and the gradients."""
    net = nn.Sequential(nn.Linear(4, 6, bias=False))
    generator = torch.Generator().manual_seed(0)
    old = torch.arange(24).view(SHAPE) % 2 == 0
    masks = Masks(net, {"0": old})
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(SHAPE, generator=generator))
    masks.apply()
    optimizer = make([net[0].weight])
    for _ in range(steps):
        net[0].weight.grad = torch.randn(SHAPE, generator=generator)
        masks.mask_gradients()
        optimizer.step()
    dropped = torch.arange(24).view(SHAPE) % 4 == 0
    masks.move("0", old & ~dropped, [optimizer])  # so that weights grow that had a state
    net[0].weight.grad = torch.zeros(SHAPE)
    optimizer.step()
    masks.move("0", dropped, [optimizer])
    return net[0], optimizer, dropped, torch.randn(5, *SHAPE, generator=generator)


@pytest.mark.parametrize("name", CASES)
def test_a_grown_weight_starts_with_the_state_of_a_new_parameter(name: str) -> None:
    kind, options = CASES[name]
    layer, optimizer, grown, gradients = grow(lambda parameters: kind(parameters, **options))
    kept = {key: value for key, value in optimizer.state[layer.weight].items() if value.shape == SHAPE}
    assert kept and not layer.weight[grown].any()
    for key, values in kept.items():
        assert torch.allclose(values[grown], torch.tensor(START.get(name, {}).get(key, 0.0)), atol=1e-7), key

    # From here it is trained as a parameter of zeros that has had no gradient in all the steps before.
    twin = nn.Parameter(torch.zeros(SHAPE))
    reference = kind([twin], **options)
    for _ in range(7):
        twin.grad = torch.zeros(SHAPE)
        reference.step()
    for gradient in gradients:
        for weight, each in ((layer.weight, optimizer), (twin, reference)):
            weight.grad = gradient.clone()
            each.step()
    assert twin.any() and torch.allclose(layer.weight[grown], twin[grown], rtol=1e-6, atol=1e-7)


def test_every_elementwise_optimizer_of_torch_is_a_case() -> None:
    assert {kind for kind, _ in CASES.values()} == ELEMENTWISE


@pytest.mark.parametrize("name", ["rmsproptf", "lion", "adabelief", "nadamw", "adan", "muon", "lookahead_sgd"])
def test_optimizers_of_others(name: str) -> None:
    """TensorFlow's RMSprop starts with a mean square of one. A step with a gradient of zero would make it 0.9."""
    layer, optimizer, grown, _ = grow(
        lambda parameters: timm.optim.create_optimizer_v2(parameters, opt=name, lr=0.01, weight_decay=0.0)
    )
    inner = getattr(optimizer, "_base_optimizer", optimizer)  # of Lookahead
    kept = {key: value for key, value in inner.state[layer.weight].items() if getattr(value, "shape", 0) == SHAPE}
    assert kept and ("lookahead_slow_buff" in kept) == (inner is not optimizer)
    for key, values in kept.items():
        start = 1.0 if (name, key) == ("rmsproptf", "square_avg") else 0.0
        assert (values[grown] == start).all(), key
    assert not keeps_zeros(optimizer)


def test_the_learning_rate_of_the_moment_and_of_the_group_decides() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 4))
    masks = Masks(net, {name: torch.arange(24).view(net[int(name)].weight.shape) < 12 for name in "01"})
    masks.apply()
    optimizer = optim.Rprop([{"params": [net[0].weight]}, {"params": [net[1].weight], "lr": 0.5}], lr=0.1)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)  # replaces the method `step`
    for layer in net:
        layer.weight.grad = torch.ones_like(layer.weight)
    masks.mask_gradients()
    optimizer.step()
    schedule.step()
    before = torch.get_rng_state()
    for name, rate in (("0", 0.05), ("1", 0.25)):
        weight = masks.weights[name]
        masks.move(name, ~masks[name], [optimizer])
        assert torch.allclose(optimizer.state[weight]["step_size"], torch.tensor(rate))
        assert optimizer.state[weight]["step"] == 1, "the optimizer itself makes no step"
    assert torch.equal(torch.get_rng_state(), before)


class Eight(optim.SGD):
    """Keeps momenta in eight bits, whose zero is not the number zero."""

    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["code"] = torch.full_like(parameter, 127, dtype=torch.uint8)


class NeedsMore(optim.SGD):
    def __init__(self, parameters, base: object, **options: Any):
        super().__init__(parameters, **options)


def test_quantized_state_is_refused() -> None:
    said = r"^what Eight keeps for every weight as code is of type torch\.uint8; expected floating point, "
    with pytest.raises(UserError, match=said):
        grow(Eight)


def test_an_optimizer_that_cannot_be_made_anew_is_told() -> None:
    with pytest.warns(UserWarning, match="^the state of NeedsMore starts at zero where weights grow: .*base"):
        layer, optimizer, grown, _ = grow(lambda parameters: NeedsMore(parameters, object(), lr=0.1, momentum=0.9))
    assert not optimizer.state[layer.weight]["momentum_buffer"][grown].any()
