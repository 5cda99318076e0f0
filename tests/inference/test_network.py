"""Networks of compact files against the network itself, in float32 and float64."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from sparseift import Masks, UserError, sparsify
from sparseift.inference import CompactNetwork, capture, network, read, write
from sparseift.inference.layers import SparseCall
from sparseift.models import GPT, MobileNetV2Cifar, resnet18_cifar

from .nets import MASKED, SHAPE, made

ROUNDING = 2**-22
"""Relative error that is rounding wherever torch's own is smaller by chance."""


def compact(net: nn.Module, masks: Masks, x: torch.Tensor, folder: Path) -> CompactNetwork:
    """The network after it was written and read."""
    masked = {f"{name}.weight": masks[name] for name in masks}
    program, tensors = capture(net, x[:1].to("meta"), masked)
    write(folder / "net.safetensors", program, tensors, masked, {})
    program, packed, _ = read(folder / "net.safetensors")
    return CompactNetwork(program, packed)


def check(net: nn.Module, ours: CompactNetwork, x: torch.Tensor) -> None:
    with torch.no_grad():
        usual = net(x)
        exact = copy.deepcopy(net).double()(x.double() if x.is_floating_point() else x)
    found = ours(x)
    assert found.shape == usual.shape and found.dtype == torch.float32
    assert (found - exact).norm() <= 2 * (usual - exact).norm() + ROUNDING * exact.norm()


@pytest.mark.parametrize("batch", [1, 2, 17])
def test_all_kinds_of_layers(tmp_path, batch: int) -> None:
    net, masks = made()
    x = torch.randn(batch, *SHAPE)
    ours = compact(net, masks, x, tmp_path)
    before = x.clone()
    check(net, ours, x)
    check(net, ours, x)  # nothing was overwritten that is needed again
    assert torch.equal(x, before)
    computed = [step.call for step in ours._prepared[1].steps if isinstance(step.call, SparseCall)]
    assert len(computed) == len(MASKED) + 2  # one layer is called twice, and the stem is computed with all its weights
    for name in masks:
        assert torch.equal(ours.tensor(f"{name}.weight"), net.get_submodule(name).weight)
    norms = [step for step in ours._prepared[1].steps if "batch_norm" in str(step.call)]
    assert len(norms) == 1  # the one before a convolution


@pytest.mark.parametrize(
    "make", [lambda: resnet18_cifar(10, 3, 8), lambda: MobileNetV2Cifar(10)], ids=["resnet", "mobilenet"]
)
def test_image_networks(tmp_path, make) -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3, 16, 16)
    net, plan = sparsify(make(), "sparse_wide", 0.75, x[:1])
    masks = Masks.random(net, plan, seed=0)
    masks.apply()
    check(net.eval(), compact(net, masks, x, tmp_path), x)


def test_a_language_model(tmp_path) -> None:
    """Any number of sequences of any length."""
    torch.manual_seed(0)
    tokens = torch.randint(40, (3, 12))
    net, plan = sparsify(GPT(40, 12, 2, 32, heads=2), "sparse_wide", 0.75, tokens)
    masks = Masks.random(net, plan, seed=0)
    masks.apply()
    ours = compact(net.eval(), masks, tokens, tmp_path)
    for read_tokens in (tokens, tokens[:1, :1], tokens[:2, 3:10]):
        check(net, ours, read_tokens)
    with pytest.raises(UserError, match=re.escape("the shape of tokens is (1, 13); expected (1 or more, 1 to 12)")):
        ours(torch.zeros(1, 13, dtype=torch.int64))


def test_dense_weights_where_the_kernels_cannot_be_used(tmp_path, monkeypatch) -> None:
    net, masks = made()
    x = torch.randn(4, *SHAPE)
    ours = compact(net, masks, x, tmp_path)
    sparse = ours(x)
    with pytest.warns(UserWarning, match="dense weights are used, because the sparse kernels compute in float32 on C"):
        found = copy.deepcopy(ours).double()(x.double())
    with torch.no_grad():
        assert torch.allclose(found, copy.deepcopy(net).double()(x.double()), rtol=1e-12, atol=1e-13)

    def no_compiler() -> None:
        raise UserError("the sparse kernels need a C++ compiler")

    monkeypatch.setattr(network, "load", no_compiler)
    again = compact(net, masks, x, tmp_path)
    with pytest.warns(UserWarning) as told:
        dense = again(x)
        again(x)
    assert [str(one.message) for one in told] == [
        "dense weights are used, because the sparse kernels need a C++ compiler"
    ]
    assert torch.allclose(dense, sparse, rtol=1e-4, atol=1e-5)
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="mixed precision"), torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(ours(x).float(), sparse, rtol=0.2, atol=0.2)
    assert torch.equal(ours(x), sparse)


def test_evaluation_alone(tmp_path) -> None:
    net, masks = made()
    ours = compact(net, masks, torch.randn(1, *SHAPE), tmp_path)
    assert not ours.train().training
    assert not ours(torch.randn(1, *SHAPE, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "inputs is []; expected x"),
        ((torch.zeros(1, 3, 9),), "the shape of x is (1, 3, 9); expected (1 or more, 3, 9, 8)"),
        ((torch.zeros(0, *SHAPE),), "the shape of x is (0, 3, 9, 8); expected (1 or more, 3, 9, 8)"),
        ((torch.zeros(1, *SHAPE), 1), "inputs is ['x']; expected x"),
    ],
    ids=str,
)
def test_other_inputs(tmp_path, args: tuple, told: str) -> None:
    net, masks = made()
    with pytest.raises(UserError, match=re.escape(told)):
        compact(net, masks, torch.randn(1, *SHAPE), tmp_path)(*args)
