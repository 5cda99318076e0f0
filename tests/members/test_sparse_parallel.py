"""Sparse Parallel against sum_j sigma(norm_j(layer_j(x)))."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from sparseift import UserError, sparsify, transform
from sparseift.members import SparseParallel
from sparseift.models import resnet18_cifar

from ..nets import LAYERS, NormAct


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return dict(net.state_dict())


def randomize_norms(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -1, 1)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("sparsity", "branches"), [(0.5, 2), (0.75, 4)])
def test_is_the_sum_of_activated_normed_branches(tiny, sparsity: float, branches: int, training: bool) -> None:
    torch.manual_seed(0)
    net = tiny(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
    x = torch.randn(4, 3, 6, 6)
    new = transform(net, "sparse_parallel", sparsity, x).train(training)
    randomize_norms(new)
    w, h = state(new), new.before(x)
    total = torch.zeros(())
    for j in range(branches):
        at = f"layer.branches.{j}"
        z = F.conv2d(h, w[f"{at}.layer.weight"], padding=1)
        if training:
            mean, var = z.mean((0, 2, 3), keepdim=True), z.var((0, 2, 3), correction=0, keepdim=True)
        else:
            mean, var = (w[f"{at}.norm.running_{k}"][:, None, None] for k in ("mean", "var"))
        z = (z - mean) / (var + 1e-5).sqrt()
        z = z * w[f"{at}.norm.weight"][:, None, None] + w[f"{at}.norm.bias"][:, None, None]
        total = total + z.clamp(0, 6)
    expected = F.conv2d(total, w["head.weight"], w["head.bias"])
    torch.testing.assert_close(new(x), expected, rtol=1e-4, atol=1e-4)
    assert f"layer.branches.{branches}.layer.weight" not in w
    assert sum(p.numel() for p in new.parameters()) == (
        sum(p.numel() for p in net.parameters()) + (branches - 1) * (8 * 8 * 9 + 16)
    )


def test_without_the_inner_activation_the_network_s_own_follows_the_sum(tiny) -> None:
    """The authors' CIFAR code."""
    torch.manual_seed(0)
    net = tiny(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    x = torch.randn(4, 3, 6, 6)
    new = transform(net, SparseParallel(activation=False), 0.5, x).eval()
    randomize_norms(new)
    total = sum(branch.norm(branch.layer(new.before(x))) for branch in new.layer.branches)
    torch.testing.assert_close(new(x), new.head(total.clamp(min=0)))
    assert (total < 0).any()


def test_without_the_inner_norm_the_network_s_own_follows_the_sum(tiny) -> None:
    torch.manual_seed(0)
    net = tiny(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Tanh())
    x = torch.randn(4, 3, 6, 6)
    new = transform(net, SparseParallel(norm=False), 0.5, x).eval()
    randomize_norms(new)
    total = sum(branch.layer(new.before(x)).tanh() for branch in new.layer.branches)
    torch.testing.assert_close(new(x), new.head(new.norm(total).tanh()))


def test_the_activation_moves_into_the_branches_without_a_norm_too(tiny) -> None:
    torch.manual_seed(0)
    net, x = tiny(nn.Linear(8, 8), activation=nn.Tanh()), torch.randn(4, 3)
    new = transform(net, "sparse_parallel", 0.5, x)
    mean = sum(branch.layer(new.before(x)).tanh() for branch in new.layer.branches) / 2
    torch.testing.assert_close(new(x), new.head(mean))


@pytest.mark.parametrize("act", [None, nn.GELU()], ids=["function", "module"])
def test_an_activation_that_the_norm_applies_is_applied_once(tiny, act: nn.Module | None) -> None:
    torch.manual_seed(0)
    net = tiny(nn.Conv2d(8, 8, 3), NormAct(8, act), nn.Identity())
    x = torch.randn(4, 3, 6, 6)
    new = transform(net, "sparse_parallel", 0.5, x).eval()
    randomize_norms(new)
    normed = (F.batch_norm(b.layer(new.before(x)), **_affine(b.norm)) for b in new.layer.branches)
    torch.testing.assert_close(new(x), new.head(sum(F.gelu(z) for z in normed)))


def _affine(norm: nn.BatchNorm2d) -> dict[str, torch.Tensor]:
    return {key: getattr(norm, key) for key in ("running_mean", "running_var", "weight", "bias")}


def test_norms_keep_their_options(tiny) -> None:
    net = tiny(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8, eps=0.1, momentum=0.3, affine=False))
    new = transform(net, "sparse_parallel", 0.5, torch.randn(4, 3, 6, 6))
    assert {str(branch.norm) for branch in new.layer.branches} == {str(net.norm)}
    assert len({id(branch.norm) for branch in new.layer.branches}) == 2


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layers_of_every_kind(tiny, like, layer: nn.Module) -> None:
    torch.manual_seed(0)
    net = tiny(layer)
    dims = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
    x = torch.randn(4, 3, *[7] * dims)
    new = transform(net, "sparse_parallel", 0.5, x)
    h = new.before(x)
    mean = sum(like(layer, h, branch.layer.weight, branch.layer.bias).relu() for branch in new.layer.branches) / 2
    torch.testing.assert_close(new(x), new.head(mean), rtol=1e-4, atol=1e-5)
    assert all((branch.layer.bias is None) == (layer.bias is None) for branch in new.layer.branches)
    first, second = new.layer.branches
    assert not torch.equal(first.layer.weight, second.layer.weight)


def test_functional_activations_go_into_the_branches() -> None:
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.c(F.relu(self.b(F.relu(self.a(x)))))

    torch.manual_seed(0)
    x = torch.randn(4, 6)
    new = transform(Bare(), "sparse_parallel", 0.5, x)
    mean = sum(branch.layer(new.a(x).relu()).relu() for branch in new.b.branches) / 2
    torch.testing.assert_close(new(x), new.c(mean))


NORMS = {
    "batch": nn.BatchNorm2d(8),
    "group": nn.GroupNorm(2, 8),
    "zero": nn.BatchNorm2d(8),
    "no weight": nn.BatchNorm2d(8, affine=False),
    "instance": nn.InstanceNorm2d(8),
    "none": None,
}
nn.init.zeros_(NORMS["zero"].weight)


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize(("sparsity", "branches"), [(0.5, 2), (0.9, 10)])
def test_activated_branches_start_at_1_k_of_the_published_scale(tiny, norm, sparsity: float, branches: int) -> None:
    torch.manual_seed(0)
    net = tiny(nn.Conv2d(8, 8, 3, padding=1, bias=False), norm)
    x = torch.randn(64, 3, 6, 6)
    new, published = (transform(net, SparseParallel(branch_scale=scale), sparsity, x).eval() for scale in (None, 1))
    others = {k: v for k, v in new.state_dict().items() if not k.endswith("norm.weight")}
    published.load_state_dict(others, strict=False)
    scales = [(k, p) for k, p in new.named_parameters() if k.endswith("norm.weight")]
    assert len(scales) == (branches if getattr(norm, "weight", None) is not None else 0)
    for name, scale in scales:
        assert (scale == torch.tensor(1 / branches)).all() and (published.get_parameter(name) == 1).all()
    h = new.before(x)
    torch.testing.assert_close(branches * new.layer(h), published.layer(h), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("member", [SparseParallel(activation=False), SparseParallel(norm=False)], ids=str)
def test_branches_without_an_activation_or_before_a_norm_keep_their_scale(tiny, member: SparseParallel) -> None:
    net = tiny(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
    x = torch.randn(4, 3, 6, 6)
    new, published = [], []
    for made, scale in ((new, None), (published, 1)):
        torch.manual_seed(0)
        made.append(transform(net, replace(member, branch_scale=scale), 0.75, x))
    assert all(torch.equal(v, state(published[0])[k]) for k, v in state(new[0]).items())
    assert torch.equal(new[0].eval()(x), published[0].eval()(x))


@pytest.mark.parametrize("scale", [0, -1, 1.5, float("nan"), float("inf"), "half", True])
def test_a_scale_out_of_range_is_refused(scale) -> None:
    with pytest.raises(UserError, match=r"member.branch_scale is .*; expected a number in \(0, 1\]"):
        SparseParallel(branch_scale=scale)


@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_residual_block_as_in_the_authors_imagenet_code(sparsity: float) -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet.BasicBlock(8, 8)
    body = nn.Sequential(nn.Conv2d(3, 8, 1), net, nn.Conv2d(8, 2, 1))
    x = torch.randn(2, 3, 5, 5)
    new = transform(body, "sparse_parallel", sparsity, x).eval()
    randomize_norms(new)
    h = z = new[0](x)
    for conv in (new[1].conv1, new[1].conv2):
        z = sum(F.relu(branch.norm(F.conv2d(z, branch.layer.weight, padding=1))) for branch in conv.branches)
    torch.testing.assert_close(new(x), new[2](F.relu(z + h)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("sparsity", "branches"),
    [
        (0.34, 2),
        (1 / 3, 2),
        (0.5, 2),
        (0.6, 3),
        (0.7, 3),
        (0.75, 4),
        (0.8, 5),
        (0.85, 7),
        (0.9, 10),
        (0.95, 20),
        (0.99, 100),
    ],
)
def test_number_of_branches_is_the_nearest_with_halves_up(tiny, sparsity: float, branches: int) -> None:
    net = tiny(nn.Conv2d(8, 8, 1)).to("meta")
    assert len(transform(net, "sparse_parallel", sparsity, torch.empty(2, 3, 4, 4)).layer.branches) == branches


@pytest.mark.parametrize("sparsity", [0.01, 0.2, 0.33])
def test_fewer_than_two_branches_are_refused(tiny, sparsity: float) -> None:
    x = torch.empty(2, 3, 4, 4)
    net = tiny(nn.Conv2d(8, 8, 3, padding=1)).to("meta")
    with pytest.raises(UserError, match=r"nearest sparsity that works is 0\.34$"):
        sparsify(net, "sparse_parallel", sparsity, x)
    assert abs(sparsify(net, "sparse_parallel", 0.34, x)[1].ratio - 1) < 1e-3


def test_shortcuts_are_masked_but_not_replicated() -> None:
    with torch.device("meta"):
        net = resnet18_cifar(100)
    new, plan = sparsify(net, "sparse_parallel", 0.75, torch.empty(1, 3, 32, 32))
    shortcuts = {f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)}
    assert all(isinstance(new.get_submodule(name), nn.Conv2d) for name in shortcuts)
    assert shortcuts < set(plan.masked)
    assert len(plan.masked) == 16 * 4 + 3


def test_no_norm_is_left_without_a_use() -> None:
    """The authors' CIFAR code has unused norms after the sum."""
    net = resnet18_cifar(10, base_width=4)
    new = transform(net, "sparse_parallel", 0.5, torch.empty(1, 3, 8, 8))
    names = [name for name, module in new.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(names) == 16 * 2 + 1 + 3
    assert all("branches" in name or "downsample" in name or name == "bn1" for name in names)
