"""Networks of torchvision and timm by name: classes, channels, image sizes, and one-line errors."""

import sys

import pytest
import torch
import torchvision
from torch import nn

from sparseift.errors import UserError
from sparseift.models import from_timm, from_torchvision

BUILDERS = {"torchvision": from_torchvision, "timm": from_timm}
CASES = [
    ("torchvision", "mobilenet_v3_small"),
    ("torchvision", "densenet121"),
    ("torchvision", "vit_b_16"),
    ("torchvision", "googlenet"),
    ("timm", "resnet18d"),
    ("timm", "botnet26t_256"),
    ("timm", "vit_tiny_patch16_224"),
    ("timm", "mobilevit_xxs"),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("library", "name"), CASES)
def test_a_network_takes_the_images_of_the_data_set(library: str, name: str, channels: int) -> None:
    with torch.device("meta"):
        net = BUILDERS[library](name, num_classes=7, in_channels=channels, image_size=64)
        for training in (True, False):
            assert net.train(training)(torch.empty(2, channels, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_a_network_equals_that_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    expected = getattr(torchvision.models, name)(num_classes=5).state_dict()
    torch.manual_seed(0)
    made = from_torchvision(name, num_classes=5).state_dict()
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[key], expected[key]) for key in expected)


def test_the_first_convolution_is_drawn_again_for_other_channels() -> None:
    torch.manual_seed(0)
    conv = from_torchvision("resnet18", num_classes=5, in_channels=1).conv1
    assert (conv.in_channels, conv.kernel_size, conv.stride, conv.padding) == (1, (7, 7), (2, 2), (3, 3))
    # torchvision draws by He et al. with fan-out; five standard errors of 64 * 49 draws
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=5 / (2 * 64 * 49) ** 0.5)


def test_options_go_to_the_constructor() -> None:
    assert from_torchvision("mobilenet_v2", num_classes=5, dropout=0.6).classifier[0].p == 0.6
    assert from_timm("resnet18", num_classes=5, drop_rate=0.6).drop_rate == 0.6


@pytest.mark.parametrize("library", BUILDERS)
def test_an_unknown_name_is_refused_with_the_nearest(library: str) -> None:
    said = rf"^model.name is 'resnet81'; expected a network of {library}, such as .*resnet18"
    with pytest.raises(UserError, match=said) as refusal:
        BUILDERS[library]("resnet81", num_classes=5)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("library", BUILDERS)
def test_an_unknown_option_is_refused(library: str) -> None:
    with pytest.raises(UserError, match=r"^model.name=resnet18: .*unexpected keyword argument 'depht'$"):
        BUILDERS[library]("resnet18", num_classes=5, depht=3)


def test_without_timm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"^networks of timm need the package timm, .*: pip install timm$"):
        from_timm("resnet18", num_classes=5)


def strides(net: nn.Module) -> list[str]:
    """The modules that halve the resolution."""
    leaves = [(name, module) for name, module in net.named_modules() if not list(module.children())]
    leaves = [(name, module) for name, module in leaves if not isinstance(module, nn.Identity)]
    return [name for name, module in leaves if getattr(module, "stride", 1) in (2, (2, 2))]


def test_skipping_two_halvings_of_a_resnet_leaves_out_stem_stride_and_pooling() -> None:
    with torch.device("meta"):
        whole = from_torchvision("resnet18", num_classes=10)
        net = from_torchvision("resnet18", num_classes=10, image_size=32, skip_halvings=2)
    assert strides(whole)[:2] == ["conv1", "maxpool"]
    assert strides(net) == strides(whole)[2:]
    assert isinstance(net.maxpool, nn.Identity)
    assert [p.shape for p in net.parameters()] == [p.shape for p in whole.parameters()]


@pytest.mark.parametrize(
    ("library", "name", "count"),
    [
        ("torchvision", "resnet18", 1),
        ("torchvision", "resnet18", 3),  # the third is in two parallel paths
        ("torchvision", "mobilenet_v2", 2),
        ("timm", "regnetx_002", 2),
        ("timm", "mobilevit_xxs", 2),
        ("timm", "botnet26t_256", 2),
        ("timm", "resnet26d", 3),  # its third is a pooling in the shortcut
    ],
)
def test_maps_are_as_large_as_those_of_larger_images(library: str, name: str, count: int) -> None:
    """The maps of a small image are as large as those of an image 2^count times as large in the full network."""

    def sides(net: nn.Module, size: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for key, module in net.named_modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda m, i, o, key=key: found.update({key: o.shape[-1]}))
        net.eval()(torch.empty(1, 3, size, size, device="meta"))
        return found

    with torch.device("meta"):
        small = BUILDERS[library](name, num_classes=5, image_size=32, skip_halvings=count)
        large = BUILDERS[library](name, num_classes=5, image_size=32 * 2**count)
    expected = sides(large, 32 * 2**count)
    for key, side in sides(small, 32).items():
        assert side == min(32, expected[key]), key


@pytest.mark.parametrize(
    ("library", "name", "count", "said"),
    [
        ("torchvision", "resnet18", 6, "at most 5, the number of halvings of ResNet"),
        ("timm", "vit_tiny_patch16_224", 1, "at most 0, the number of halvings of VisionTransformer"),
        ("torchvision", "maxvit_t", 1, "fewer, because MaxVit then fails at dataset.image_size=32: "),
    ],
)
def test_halvings_that_cannot_be_skipped_are_refused(library: str, name: str, count: int, said: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=f"^model.skip_halvings is {count}; expected {said}"):
        BUILDERS[library](name, num_classes=5, image_size=32, skip_halvings=count)


def test_timm_computes_activations_again() -> None:
    """The same gradients, and fewer values kept for the backward pass."""
    gradients, kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net, sizes = from_timm("resnet10t", 3, 1, checkpointing=checkpointing), []
        images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
        with torch.autograd.graph.saved_tensors_hooks(lambda saved, to=sizes: to.append(saved.numel()) or saved, id_):
            loss = net(images).square().sum()
        loss.backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
        kept.append(sum(sizes))
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert kept[1] < 0.7 * kept[0]


def id_(saved: torch.Tensor) -> torch.Tensor:
    return saved
