"""The ResNets for CIFAR against the published counts and against torchvision's networks."""

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparseift.models import resnet18_cifar, resnet34_cifar

WIDTHS = (64, 128, 256, 512)
SIDES = (32, 16, 8, 4)  # of a stage's feature maps, for 32x32 images


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def resnet18_macs_by_hand() -> int:
    """Multiply-accumulates of convolutions and linear for 3x32x32 and 100 classes, from the layer shapes."""
    macs = 9 * 3 * 64 * 32**2 + 512 * 100
    before = 64
    for width, side in zip(WIDTHS, SIDES, strict=True):
        shortcut = 0 if before == width else before * width
        macs += (9 * before * width + 3 * 9 * width * width + shortcut) * side**2
        before = width
    return macs


def test_parameter_count_of_the_authors() -> None:
    assert parameters(resnet18_cifar(num_classes=100)) == 11_220_132


def test_resnet34_adds_eight_blocks() -> None:
    extra = sum(n * 2 * (9 * w * w + 2 * w) for n, w in zip((1, 2, 4, 1), WIDTHS, strict=True))
    with torch.device("meta"):
        assert parameters(resnet34_cifar(num_classes=100)) == 11_220_132 + extra == 21_328_292


def test_multiplications_of_the_authors() -> None:
    """The authors count convolutions, the linear layer, and three multiplications per element of a norm."""
    # Five norms a stage: four in its blocks, and the stem's or the shortcut's.
    norm_elements = sum(5 * w * s**2 for w, s in zip(WIDTHS, SIDES, strict=True))
    macs = resnet18_macs_by_hand()
    assert macs + 3 * norm_elements == 557_312_000
    with torch.device("meta"):
        net, x = resnet18_cifar(num_classes=100).eval(), torch.empty(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        net(x)
    assert counter.get_total_flops() == 2 * macs


@pytest.mark.parametrize(
    ("build", "reference"),
    [(resnet18_cifar, torchvision.models.resnet18), (resnet34_cifar, torchvision.models.resnet34)],
)
def test_equals_torchvision_with_a_small_stem(build, reference) -> None:
    torch.manual_seed(0)
    net = build(num_classes=7, zero_init_residual=False).eval()
    other = reference(num_classes=7).eval()
    other.conv1, other.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    other.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(net(x), other(x), rtol=0, atol=0)


@pytest.mark.parametrize("side", [1, 8, 28, 32, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_image_size_and_channels(side: int, channels: int) -> None:
    net = resnet18_cifar(num_classes=10, in_channels=channels, base_width=4)
    assert net(torch.randn(2, channels, side, side)).shape == (2, 10)


def test_builds_and_runs_on_the_meta_device() -> None:
    with torch.device("meta"):
        net, x = resnet34_cifar(num_classes=10), torch.empty(2, 3, 32, 32)
    assert {p.device.type for p in net.parameters()} == {"meta"}
    assert net(x).shape == (2, 10)


def test_zero_init_makes_every_block_its_shortcut() -> None:
    torch.manual_seed(0)
    net = resnet18_cifar(num_classes=10, base_width=4, zero_init_residual=True)
    x = torch.rand(2, 4, 8, 8)  # not negative: the block's last ReLU changes nothing
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        shortcut = stage[0].downsample
        through = x if shortcut is None else shortcut(x).relu()
        torch.testing.assert_close(stage(x), through)
        x = through


def test_zero_init_zeroes_the_last_norm_of_each_block_alone() -> None:
    """A zero first norm would also start as the shortcut, but would get no gradient."""
    net = resnet18_cifar(num_classes=10, base_width=4, zero_init_residual=True)
    zero = {name for name, p in net.named_parameters() if name.endswith("weight") and not p.any()}
    assert zero == {f"layer{stage}.{block}.bn2.weight" for stage in (1, 2, 3, 4) for block in (0, 1)}


def test_without_zero_init_norms_start_at_one_and_zero() -> None:
    net = resnet18_cifar(num_classes=10, base_width=4, zero_init_residual=False)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)


def test_convolutions_start_kaiming_normal_fan_out() -> None:
    torch.manual_seed(0)
    net = resnet18_cifar(num_classes=10)
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        expected = (2 / (conv.out_channels * conv.kernel_size[0] ** 2)) ** 0.5
        # The standard deviation of n draws has an error below 5 / sqrt(2n), except once in a million.
        assert conv.weight.std().item() == pytest.approx(expected, rel=5 / (2 * conv.weight.numel()) ** 0.5)
