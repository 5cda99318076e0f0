"""The first steps of grown weights under Adam, against the formulas of Adam and the steps of the other weights."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import pytest
import timm.optim
import torch
from torch import Tensor, nn, optim

from sparseift import Masks
from sparseift.masks.second_moments import SECOND_MOMENTS

SHAPE = (40, 50)
LR, BETA1 = 0.01, 0.9
ADAMS = [optim.Adam, optim.AdamW]
BEFORE, AFTER = 300, 50
"""Steps before weights grow, and those after it that are compared."""


class Layer:
    """A layer, half of whose weights are active, and an optimizer. Each weight has gradients of a scale of its own."""

    def __init__(self, make: Callable[..., optim.Optimizer], signs_alone: bool = False):
        self.generator = torch.Generator().manual_seed(0)
        self.net = nn.Sequential(nn.Linear(SHAPE[1], SHAPE[0], bias=False))
        self.masks = Masks(self.net, {"0": torch.rand(SHAPE, generator=self.generator) < 0.5})
        self.masks.apply()
        self.make = make
        self.optimizer = make([self.weight])
        self.scale = torch.ones(SHAPE) if signs_alone else torch.randn(SHAPE, generator=self.generator).exp()
        self.signs_alone = signs_alone

    @property
    def weight(self) -> nn.Parameter:
        return self.net[0].weight

    def gradient(self) -> Tensor:
        noise = torch.randn(SHAPE, generator=self.generator)
        return self.scale * (noise.sign() if self.signs_alone else noise)

    def step(self, gradient: Tensor) -> Tensor:
        """Returns the steps of the weights, in learning rates."""
        self.weight.grad = gradient.clone()
        self.masks.mask_gradients()
        before = self.weight.detach().clone()
        self.optimizer.step()
        return (self.weight.detach() - before) / LR

    def grow(self, by_gradient: bool, match: bool) -> Tensor:
        """Drop a fifth of the active weights and grow as many, in a step of training. Returns where."""
        old, gradient = self.masks["0"], self.gradient()
        chance = torch.rand(SHAPE, generator=self.generator)
        count = int(old.sum()) // 5
        dropped = chance.masked_fill(~old, -1).flatten().topk(count).indices
        score = gradient.abs() if by_gradient else chance
        grown = torch.zeros(old.numel(), dtype=torch.bool)
        grown[score.masked_fill(old, -1).flatten().topk(count).indices] = True
        new = old.clone().flatten()
        new[dropped] = False
        self.weight.grad = gradient.clone()
        self.masks.move("0", new.view(SHAPE) | grown.view(SHAPE), [self.optimizer], match, by_gradient)
        self.step(self.weight.grad)
        return grown.view(SHAPE)


def resumed(layer: Layer) -> None:
    """Replace the optimizer by one that has loaded its state."""
    state = layer.optimizer.state_dict()
    layer.optimizer = layer.make([layer.weight])
    layer.optimizer.load_state_dict(state)


def means(layer: Layer, by_gradient: bool, match: bool, resume: bool = False) -> tuple[Tensor, Tensor]:
    """The mean size of the first steps of grown weights, and that of the steps of the others at the same time."""
    for _ in range(BEFORE):
        layer.step(layer.gradient())
    grown = layer.grow(by_gradient, match)
    others = layer.masks["0"] & ~grown
    if resume:
        resumed(layer)
    steps = torch.stack([layer.step(layer.gradient()).abs() for _ in range(AFTER)])
    return steps[:, grown].mean(1), steps[:, others].mean(1)


def adam(kind: type[optim.Optimizer], beta2: float, amsgrad: bool) -> Callable[..., optim.Optimizer]:
    return lambda parameters: kind(parameters, lr=LR, betas=(BETA1, beta2), amsgrad=amsgrad, weight_decay=0.0)


@pytest.mark.parametrize("by_gradient", [False, True], ids=["random", "by gradient"])
@pytest.mark.parametrize("amsgrad", [False, True], ids=["", "amsgrad"])
@pytest.mark.parametrize("beta2", [0.95, 0.999])
@pytest.mark.parametrize("kind", [*ADAMS, optim.NAdam, optim.RAdam])
def test_first_steps_are_no_larger_than_those_of_the_others(kind, beta2: float, amsgrad: bool, by_gradient) -> None:
    if amsgrad and kind not in ADAMS:
        pytest.skip("the optimizer has no amsgrad")
    make = adam(kind, beta2, amsgrad) if kind in ADAMS else lambda p: kind(p, lr=LR, betas=(BETA1, beta2))
    grown, others = means(Layer(make), by_gradient, match=True)
    assert grown.mean() <= others.mean()
    assert (grown <= 1.2 * others).all(), "the mean over 200 weights has a standard error of up to 6 %"
    assert grown[0] > 0 and grown[20:].mean() > 0.2 * others.mean(), "they train, too"
    after_resume, _ = means(Layer(make), by_gradient, match=True, resume=True)
    assert torch.equal(after_resume, grown)

    plain, others = means(Layer(make), by_gradient, match=False)
    assert plain[:5].mean() > (1.3 if beta2 == 0.95 else 5) * others[:5].mean(), "the fault that this mends"


@pytest.mark.parametrize("amsgrad", [False, True], ids=["", "amsgrad"])
@pytest.mark.parametrize("beta2", [0.95, 0.999])
@pytest.mark.parametrize("kind", ADAMS)
def test_a_step_by_the_formula(kind, beta2: float, amsgrad: bool) -> None:
    """Gradients of plus and minus one: the second moments of all active weights are known."""
    layer = Layer(adam(kind, beta2, amsgrad), signs_alone=True)
    for _ in range(BEFORE):
        layer.step(layer.gradient())
    grown = layer.grow(by_gradient=False, match=True)
    first, second = torch.zeros(SHAPE, dtype=torch.float64), beta2 * (1 - beta2**BEFORE)
    largest = 1 - beta2**BEFORE
    for count in range(1, AFTER + 1):
        gradient = layer.gradient()
        first = BETA1 * first + (1 - BETA1) * gradient.double()
        second = beta2 * second + 1 - beta2
        largest = max(largest, second)
        steps = BEFORE + 1 + count
        corrected = (largest if amsgrad else second) / (1 - beta2**steps)
        expected = -first / (1 - BETA1**steps) / (sqrt(corrected) + 1e-8)
        taken = layer.step(gradient)
        assert torch.allclose(taken[grown].double(), expected[grown], rtol=1e-3, atol=1e-4)
        assert (taken[grown].abs() <= 1.03 * (1 - BETA1**count)).all(), "less than a learning rate"


def peak(beta2: float, before: int) -> float:
    """The largest step under constant gradients, in learning rates, from a second moment of zero after these steps."""

    def step(n: int) -> float:
        first, second = (1 - BETA1**n) / (1 - BETA1 ** (before + n)), (1 - beta2**n) / (1 - beta2 ** (before + n))
        return first / sqrt(second)

    return max(step(n) for n in range(1, 200))


@pytest.mark.parametrize(("beta2", "calculated"), [(0.95, 1.10), (0.999, 6.57)])
@pytest.mark.parametrize("match", [False, True])
def test_peaks_under_constant_gradients(beta2: float, calculated: float, match: bool) -> None:
    """With second moments from the start, steps reach the learning rate at most."""
    assert peak(beta2, before=10**5) == pytest.approx(calculated, abs=0.01)
    layer = Layer(adam(optim.AdamW, beta2, False))
    for _ in range(BEFORE):
        layer.step(layer.gradient())
    drawn = layer.generator.get_state()
    grown = layer.grow(by_gradient=True, match=match)
    layer.generator.set_state(drawn)
    gradient = layer.gradient()  # once more that of the step of growth
    largest = torch.stack([layer.step(gradient)[grown].abs() for _ in range(200)]).max()
    if match:
        assert largest < 1.01
    else:
        assert largest == pytest.approx(peak(beta2, BEFORE), rel=0.01)


def test_many_zero_gradients_freeze_no_weight() -> None:
    """Active weights without gradients, as of dead units, beside a grown one with gradients."""
    layer = Layer(adam(optim.Adam, 0.95, False))
    layer.scale.masked_fill_(layer.masks["0"], 0.0)
    for _ in range(20):
        layer.step(layer.gradient())
    grown = layer.grow(by_gradient=True, match=True)
    steps = torch.stack([layer.step(layer.gradient())[grown].abs() for _ in range(20)])
    assert steps.isfinite().all() and (steps.amax(0) > 0.05).all() and steps.max() < 1.2


@pytest.mark.parametrize("count", [0, 1])
def test_growth_before_the_first_steps(count: int) -> None:
    layer = Layer(adam(optim.AdamW, 0.999, False))
    for _ in range(count):
        layer.step(layer.gradient())
    grown = layer.grow(by_gradient=True, match=True)
    taken = layer.step(layer.gradient())
    assert taken.isfinite().all() and 0 < taken[grown].abs().max() < 1


def test_complex_weights_have_moments_of_both_parts() -> None:
    net = nn.Sequential(nn.Linear(4, 6, bias=False, dtype=torch.complex64))
    old = torch.arange(24).view(6, 4) % 2 == 0
    masks = Masks(net, {"0": old})
    masks.apply()
    optimizer = optim.Adam(net.parameters(), lr=LR, betas=(BETA1, 0.5))
    weight = net[0].weight
    weight.grad = torch.full((6, 4), complex(1, 2))
    masks.mask_gradients()
    optimizer.step()
    weight.grad = torch.full((6, 4), complex(0, 3))
    masks.move("0", ~old, [optimizer], match=True, dense_gradient=True)
    mean, constant = (0.5 * 1 + 0.5 * 4) / 2, 0.5 * 9
    assert torch.allclose(optimizer.state[weight]["exp_avg_sq"][~old], torch.tensor(complex(mean, constant)))
    assert not optimizer.state[weight]["exp_avg_sq"][old].any()


def kept(optimizer: optim.Optimizer, weight: nn.Parameter) -> dict[str, Tensor]:
    inner: Any = getattr(optimizer, "_base_optimizer", optimizer)  # of Lookahead
    return {key: value for key, value in inner.state[weight].items() if getattr(value, "shape", 0) == weight.shape}


@pytest.mark.parametrize("name", ["lamb", "nadamw", "adan", "lookahead_adam", "lion", "rmsproptf", "adabelief"])
def test_optimizers_of_others(name: str) -> None:
    """Those with the second moments of Adam, also in Lookahead, are treated alike. The rest is as without `match`."""
    states = []
    for match in (False, True):
        layer = Layer(lambda p: timm.optim.create_optimizer_v2(p, opt=name, lr=LR, weight_decay=0.0))
        for _ in range(4):
            layer.step(layer.gradient())
        layer.weight.grad = layer.gradient()
        grown = ~layer.masks["0"]
        layer.masks.move("0", grown, [layer.optimizer], match)
        states.append(kept(layer.optimizer, layer.weight))
    plain, matched = states
    assert plain and plain.keys() == matched.keys()
    assert (name in ("lamb", "nadamw", "adan", "lookahead_adam")) == ("exp_avg_sq" in plain)
    for key, values in matched.items():
        if key in SECOND_MOMENTS:
            assert not plain[key].any() and values[grown].unique().numel() == 1 and (values[grown] > 0).all()
            assert not values[~grown].any()
        else:
            assert torch.equal(values, plain[key]), key
