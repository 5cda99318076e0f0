"""What is masked stays exactly zero, weight and optimizer state alike, under every common optimizer."""

import pytest
import torch
from torch import nn, optim
from torch.nn.utils import parametrize

from sparseift.masks.second_moments import SECOND_MOMENTS
from sparseift.sparsifiers import SET, RigL, Static, Update

TOTAL = 10
OPTIONS = {"update_interval": 2, "begin": 0, "end": 0.9, "drop_fraction": 0.4, "anneal": "cosine"}
SETTINGS = {
    "sgd": (optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "nesterov": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    "dampened": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.05}),
    "adam": (optim.Adam, {"lr": 0.01, "weight_decay": 0.05}),
    "amsgrad": (optim.Adam, {"lr": 0.01, "amsgrad": True}),
    "adamw": (optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw_amsgrad": (optim.AdamW, {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    "rmsprop": (optim.RMSprop, {"lr": 0.003, "momentum": 0.9}),
    "rmsprop_centered": (
        optim.RMSprop,
        {"lr": 0.003, "momentum": 0.9, "centered": True, "weight_decay": 0.05},
    ),
    "adagrad": (optim.Adagrad, {"lr": 0.05, "weight_decay": 0.05}),
    "adadelta": (optim.Adadelta, {"lr": 1.0, "weight_decay": 0.05}),
}
STATE = {
    "sgd": {"momentum_buffer"},
    "nesterov": {"momentum_buffer"},
    "dampened": {"momentum_buffer"},
    "adam": {"exp_avg", "exp_avg_sq"},
    "amsgrad": {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    "adamw": {"exp_avg", "exp_avg_sq"},
    "adamw_amsgrad": {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    "rmsprop": {"square_avg", "momentum_buffer"},
    "rmsprop_centered": {"square_avg", "momentum_buffer", "grad_avg"},
    "adagrad": {"sum"},
    "adadelta": {"square_avg", "acc_delta"},
}
FUSED_ON_CPU = {optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad}
VARIANTS = [
    pytest.param(name, variant, id=f"{name}-{next(iter(variant))}-{next(iter(variant.values()))}")
    for name, (kind, _) in SETTINGS.items()
    for variant in ({"foreach": False}, {"foreach": True}, {"fused": True})
    if "fused" not in variant or kind in FUSED_ON_CPU
]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [(Static, {}), (SET, OPTIONS), (RigL, OPTIONS), (RigL, {**OPTIONS, "grown_state": "new"})],
    ids=["Static", "SET", "RigL", "RigL-new"],
)
def test_masked_weights_and_their_state_stay_zero(
    name: str, variant: dict[str, bool], kind, options, loop, active
) -> None:
    optimizer, settings = SETTINGS[name]
    run, sparsifier = loop(optimizer, **settings, **variant), kind(**options)
    matched = SECOND_MOMENTS if options.get("grown_state") != "new" else ()
    first, start = run.masks.sha256(), run.net.first.weight.detach().clone()
    for step in range(1, TOTAL + 1):
        old = {layer: run.masks[layer] for layer in active}
        moved = run.step(sparsifier, step, TOTAL)
        assert moved == 0 or step in (2, 4, 6, 8)
        for layer, count in active.items():
            mask = run.masks[layer]
            assert int(mask.sum()) == count
            for key, tensor in run.tensors(layer).items():
                assert tensor.isfinite().all()
                assert not tensor[~mask].any(), f"{layer}, step {step}: {key} of masked weights"
                grown = mask & ~old[layer]
                assert key in matched or not tensor[grown].any(), f"{layer}, step {step}: {key} of grown weights"
    assert (run.masks.sha256() == first) == (kind is Static)
    assert run.tensors("first").keys() == {"value", "gradient", *STATE[name]}
    assert all(tensor[run.masks["first"]].any() for tensor in run.tensors("first").values())
    assert (run.net.first.weight != start)[run.masks["first"]].float().mean() > 0.5, "what is active is trained"


OTHERS = ("dead", "single", "pair", "unused")


@pytest.mark.parametrize("kind", [SET, RigL])
def test_two_optimizers_share_the_network(kind, loop, active) -> None:
    run = loop(**SETTINGS["sgd"][1])
    halves = [run.net.first.weight, run.net.dense.weight], [run.net.get_submodule(name).weight for name in OTHERS]
    pair = [optim.SGD(halves[0], lr=0.05, momentum=0.9), optim.Adam(halves[1], lr=0.01)]
    for step in range(1, 7):
        run.backward(step)
        if step % 2 == 0:
            kind(**OPTIONS).update(run.masks, iter(pair), Update(step, TOTAL, 0))
        run.masks.mask_gradients()
        for optimizer in pair:
            optimizer.step()
        for name in ("first", "dead"):
            owner = pair[name == "dead"]
            weight, mask = run.masks.weights[name], run.masks[name]
            state = [v for v in owner.state[weight].values() if isinstance(v, torch.Tensor) and v.dim()]
            assert state and not any(tensor[~mask].any() for tensor in (weight, *state))


def test_masked_training_is_training_of_the_masked_function(loop, active) -> None:
    """Autograd through weight * mask masks no gradient, and must give the same active weights."""

    class Times(nn.Module):
        def __init__(self, mask: torch.Tensor) -> None:
            super().__init__()
            self.mask = mask

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight * self.mask

    settings = SETTINGS["nesterov"][1]
    run, twin = loop(**settings), loop(**settings)
    for name in active:
        parametrize.register_parametrization(twin.net.get_submodule(name), "weight", Times(twin.masks[name]))
    for step in range(1, 6):
        run.step(Static(), step, TOTAL)
        twin.backward(step)
        twin.optimizer.step()
    for name in active:
        assert torch.equal(run.masks.weights[name], twin.net.get_submodule(name).weight)
