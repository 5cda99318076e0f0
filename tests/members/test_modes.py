"""Networks whose code does more in training, or reads numbers of its layers: they work, or the refusal says why not.

Every result runs on real values in both modes, and trains.
"""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, UserError, sparsify
from sparseift.graph.recorder import trace_modes
from sparseift.sparsifiers import RigL, Update

from ..nets import LOCAL, MEMBERS, Net, conv

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
VECTORS = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
ALL = ["dense", *MEMBERS]


def linears(**more: nn.Module) -> dict[str, nn.Module]:
    return {"a": nn.Linear(8, 16), "b": nn.Linear(16, 16), "c": nn.Linear(16, 16), "h": nn.Linear(16, 3), **more}


def penalty(m, x):
    """The norm of a weight is a second output in training."""
    y = m.h(F.relu(m.c(F.relu(m.b(F.relu(m.a(x)))))))
    return (y, m.b.weight.norm()) if m.training else y


def inner(m, x):
    """As a fused kernel of Mamba, which takes the weights of several layers, in training alone."""
    x = F.relu(m.a(x))
    x = F.linear(x, m.b.weight.float(), m.b.bias.float()) if m.training else m.b(x)
    return m.h(F.relu(m.c(F.relu(x))))


def supervised(m, x):
    """In training, an auxiliary head reads the convolution in front of the norm."""
    f = m.b(F.relu(m.a(x)))
    y = m.h(F.relu(m.c(F.relu(m.n(f)))))
    return (y, m.aux(f)) if m.training else y


def skipped(m, x):
    """LayerDrop."""
    x = F.relu(m.a(x))
    for layer in (m.b, m.c):
        if not m.training or torch.rand(()) > 0.5:
            x = F.relu(x + layer(x))
    return m.h(x)


def in_features(m, x):
    x = F.relu(m.b(F.relu(m.a(x))))
    return m.h(F.relu(m.g(F.relu(m.f(x.view(-1, m.f.in_features))))))


def output_size(m, x):
    x = F.relu(m.a(x))
    y = F.relu(m.m(F.relu(m.d(x))))
    return m.h(F.relu(m.b(torch.cat([x, m.u(y, output_size=x.shape[-2:])], 1))))


class Extra(nn.Linear):
    """A layer that is called with one more argument."""

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(x) * scale


class Causal(nn.Conv2d):
    """The masked convolution of PixelCNN, whose buffer has the shape of its weight."""

    def __init__(self, inputs: int, outputs: int, itself: bool):
        super().__init__(inputs, outputs, 3, padding=1)
        self.register_buffer("mask", torch.ones_like(self.weight))
        self.mask[:, :, 1, 1 + itself :] = self.mask[:, :, 2:] = 0

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data *= self.mask
        return super().forward(x)


def _hooked() -> Net:
    net = Net(lambda m, x: m.h(F.relu(m.c(F.relu(m.b(F.relu(m.a(x))))))), **linears())
    net.b.register_forward_hook(lambda module, args, output: output + module.in_features)
    return net


def tutorial(m, x):
    x = F.max_pool2d(F.relu(m.conv2(F.max_pool2d(F.relu(m.conv1(x)), 2))), 2)
    return m.fc3(F.relu(m.fc2(F.relu(m.fc1(x.view(-1, 16 * 2 * 2))))))


CONVS = {"a": conv(3, 8), "b": conv(8, 8), "c": conv(8, 8), "h": conv(8, 4, 1)}
NETWORKS = {
    "penalty": (lambda: Net(penalty, **linears()), VECTORS),
    "fused": (lambda: Net(inner, **linears()), VECTORS),
    "deep supervision": (lambda: Net(supervised, **CONVS, n=nn.BatchNorm2d(8), aux=conv(8, 4, 1)), IMAGES),
    "layer drop": (lambda: Net(skipped, **linears()), VECTORS),
    "in_features": (
        lambda: Net(
            in_features, a=conv(3, 8), b=conv(8, 8), f=nn.Linear(512, 16), g=nn.Linear(16, 16), h=nn.Linear(16, 4)
        ),
        IMAGES,
    ),
    "output_size": (
        lambda: Net(
            output_size,
            a=conv(3, 8),
            d=conv(8, 16, stride=2),
            m=conv(16, 16),
            b=conv(16, 8),
            h=conv(8, 2, 1),
            u=nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1),
        ),
        torch.randn(4, 3, 9, 9),
    ),
    "an argument": (
        lambda: Net(lambda m, x: m.h(F.relu(m.c(F.relu(m.b(F.relu(m.a(x)), scale=2.0))))), **linears(b=Extra(16, 16))),
        VECTORS,
    ),
    "hooks": (_hooked, VECTORS),
    "pixelcnn": (
        lambda: nn.Sequential(
            Causal(3, 8, False), nn.ReLU(), Causal(8, 8, True), nn.ReLU(), Causal(8, 8, True), nn.ReLU(), conv(8, 4, 1)
        ),
        IMAGES,
    ),
    "tutorial": (
        lambda: Net(
            tutorial,
            conv1=conv(3, 6),
            conv2=conv(6, 16),
            fc1=nn.Linear(64, 120),
            fc2=nn.Linear(120, 84),
            fc3=nn.Linear(84, 10),
        ),
        IMAGES,
    ),
}
KEPT = {  # by the local members
    "penalty": {"b": "other code reads its parameters"},
    "fused": {"b": "other code reads its parameters"},
    "deep supervision": {"b": "its output is used in another way in training"},
    "output_size": {"u": "it is called with more than its input"},
    "an argument": {"b": "it is called with more than its input"},
    "hooks": {"b": "b has hooks"},
}
REFUSED = {
    (
        "pixelcnn",
        "sparse_wide",
    ): r"the transformed network cannot run on .* \(1, 3, 8, 8\): 0: .*broadcast",
    ("pixelcnn", "sparse_factorized"): r"such as 2: it has mask besides its weight and bias$",
    ("pixelcnn", "sparse_doped"): r"such as 2: it has mask besides its weight and bias$",
    ("tutorial", "sparse_wide"): r"makes \(2, 64\) of what was \(1, 64\): a width has gone into another dimension$",
}


def outputs_of(net: nn.Module, x: Tensor) -> list[Tensor]:
    output = net(x)
    return list(output) if isinstance(output, tuple) else [output]


def train(net: nn.Module, masks: Masks, x: Tensor) -> None:
    optimizer, rigl = torch.optim.SGD(net.train().parameters(), lr=0.01), RigL(2, 0.0, 0.9, 0.3, "cosine")
    for step in range(1, 5):
        optimizer.zero_grad()
        sum(output.square().mean() for output in outputs_of(net, x)).backward()
        if rigl.due(step, 6):
            rigl.update(masks, [optimizer], Update(step, 6, 0))
        masks.mask_gradients()
        optimizer.step()
    for name in masks:
        assert not masks.weights[name][~masks[name]].any()


@pytest.mark.parametrize("member", ALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_work_in_both_modes_or_are_refused(name: str, member: str) -> None:
    torch.manual_seed(0)
    made, x = NETWORKS[name]
    net = made()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    if said := REFUSED.get((name, member)):
        with pytest.raises(UserError, match=said) as refusal:
            sparsify(net, member, 0.75, x)
        assert "\n" not in str(refusal.value)
        assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    else:
        new, plan = sparsify(net, member, 0.75, x)
        assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
        assert plan.kept == (KEPT.get(name, {}) if member in LOCAL else {})
        assert not any(tensor.is_meta for tensor in (*new.parameters(), *new.buffers()))
        if member == "dense":
            torch.testing.assert_close(new.eval()(x), net.eval()(x), rtol=0, atol=0)
        masks = Masks.random(new, plan, seed=0)
        masks.apply()
        for training in (True, False):
            results = outputs_of(new.train(training), x), outputs_of(net.train(training), x)
            assert [output.shape for output in results[0]] == [output.shape for output in results[1]]
        train(new, masks, x)


@pytest.mark.parametrize("member", ALL)
def test_an_auxiliary_head_reads_what_it_reads_in_the_dense_network(member: str) -> None:
    made, x = NETWORKS["deep supervision"]
    new, _ = sparsify(made(), member, 0.75, x)
    seen: list[Tensor] = []
    new.aux.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    new.train()(x)
    assert seen[0].min() < -0.1  # it follows no activation


@pytest.mark.parametrize("member", LOCAL)
def test_replacements_have_the_numbers_of_the_layer(member: str) -> None:
    made, x = NETWORKS["in_features"]
    net = made()
    new, _ = sparsify(net, member, 0.75, x)
    keys = {"a": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups", "padding_mode")}
    for name, module in net.named_children():
        for key in keys.get(name, ("in_channels", "out_channels") if name in "ab" else ("in_features", "out_features")):
            assert getattr(new.get_submodule(name), key) == getattr(module, key)
    assert type(new.f).__module__.startswith("sparseift")


class Method(nn.Linear):
    def twice(self, x: Tensor) -> Tensor:
        return self(x) * 2


def test_a_result_that_fails_in_training_alone_is_refused_by_name() -> None:
    def run(m, x):
        x = F.relu(m.a(x))
        x = m.b.twice(x) if m.training else m.b(x)
        return m.h(F.relu(m.c(F.relu(x))))

    net = Net(run, **linears(b=Method(16, 16)))
    hooks = [net.a.register_forward_hook(lambda module, args, output: None)]
    modes = [module.train(index % 2 == 0).training for index, module in enumerate(net.children())]
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    for member in LOCAL:
        with pytest.raises(UserError, match=r"transformed network cannot run in training mode .*: Net: .*'twice'$"):
            sparsify(net, member, 0.75, VECTORS)
    assert [module.training for module in net.children()] == modes
    assert list(net.a._forward_hooks) == [hook.id for hook in hooks]
    assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
    sparsify(net, "dense", 0.75, VECTORS)


def test_a_network_that_needs_labels_in_training_is_transformed_by_evaluation_alone() -> None:
    def run(m, x, labels=None):
        y = m.h(F.relu(m.c(F.relu(m.b(F.relu(m.a(x)))))))
        return F.cross_entropy(y, labels) if m.training else y

    net = Net(run, **linears())
    for member in ALL:
        with pytest.warns(UserWarning, match="cannot run in training mode .*; transformations are checked"):
            new, plan = sparsify(net, member, 0.75, VECTORS)
        new.train()(VECTORS, torch.tensor([0, 1, 2, 0])).backward()
        assert plan.masked


def test_traces_leave_the_random_numbers_and_the_network_as_they_were() -> None:
    class Draws(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            drawn.append((float(torch.rand(())), random.random(), np.random.rand()))
            return F.dropout(x, 0.5, self.training)

    drawn: list[tuple[float, float, float]] = []
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), Draws(), conv(8, 2)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    record = trace_modes(net, IMAGES)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert len(drawn) == 2 and drawn[0] == drawn[1]  # so that code takes the same path in both
    assert record.in_training is not None and record.in_training.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
