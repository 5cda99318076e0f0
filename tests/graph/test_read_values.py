"""Networks whose code makes tensors without a device, or reads values: they run on shapes alone all the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import UserError, forward_flops, sparsify
from sparseift.graph import read_values

MEMBERS = ("sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped")
WIDTH = 32


class Layers(nn.Module):
    """Four layers; a subclass changes what is between them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 3)
        self.hidden, self.norm, self.other = nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self.first(x).relu())
        return self.last(self.other(self.norm(self.hidden(x)).relu()).relu())

    def between(self, x: Tensor) -> Tensor:
        return x


class MadeInForward(Layers):
    """Tensors without a device, as a table of positions and a constant."""

    def between(self, x: Tensor) -> Tensor:
        positions = torch.linspace(0, 1, len(x))[:, None] + torch.arange(len(x)).unsqueeze(1)
        return torch.cat([x * torch.tensor(0.5), torch.zeros(1, 1).expand(len(x), 1)], 1)[:, :-1] + positions


class Checks(Layers):
    """Checks of values, which raise an error or change the path."""

    def between(self, x: Tensor) -> Tensor:
        if x.isnan().any() or not bool((x >= 0).all()):
            raise ValueError("not what a ReLU returns")
        return x / x.max() if x.max().item() > 1e-9 and not torch.equal(x, -x) else x


class MaskOnTheFly(Layers):
    """A mask of the samples that are not padding."""

    def between(self, x: Tensor) -> Tensor:
        padding = torch.zeros(len(x), dtype=torch.bool)
        padding[0] = False
        x = x.masked_fill(padding[:, None], 0.0)
        return x * (x.sum(1, keepdim=True) != 0).to(x.dtype) if padding.any() else x


class Loops(Layers):
    """As many passes as the input says."""

    def between(self, x: Tensor) -> Tensor:
        for _ in range(int(x.detach().abs().sum().clamp(2, 2))):
            x = self.hidden(x).relu()
        return x


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("kind", [MadeInForward, Checks, MaskOnTheFly, Loops])
@pytest.mark.filterwarnings("error")
def test_members_apply(kind: type[Layers], member: str) -> None:
    """With the FLOPs of the layers alone, in training mode as well, which would warn."""
    net, x = kind(), torch.randn(4, 8)
    before, generator = {name: tensor.clone() for name, tensor in net.state_dict().items()}, torch.get_rng_state()
    assert forward_flops(net, x) == 2 * (8 + (4 if kind is Loops else 2) * WIDTH + 3) * WIDTH
    assert torch.equal(torch.get_rng_state(), generator)
    new, plan = sparsify(net, member, 0.75, x)
    assert plan.ratio == pytest.approx(1, abs=2e-3) and new(x).shape == (4, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_network_on_the_meta_device_gets_arbitrary_values() -> None:
    with torch.device("meta"):
        net = Checks()
    _, plan = sparsify(net, "sparse_wide", 0.75, torch.empty(1, 8, device="meta"))
    assert plan.ratio == pytest.approx(1, abs=2e-3)


class Finds(Layers):
    def between(self, x: Tensor) -> Tensor:
        return x.index_fill(0, (x.sum(1) > 0).nonzero()[:, 0], 0.0)


def test_shapes_that_depend_on_values_are_refused_with_a_way_out() -> None:
    told = (
        r"^the network runs with values, but not with shapes alone: Finds: torch.nonzero\(\) has shapes that depend on "
        "values; expected code whose shapes do not .* transform a part, such as the backbone"
    )
    with pytest.raises(UserError, match=told):
        sparsify(Finds(), "sparse_parallel", 0.5, torch.randn(4, 8))


def test_a_large_network_is_not_copied(monkeypatch) -> None:
    monkeypatch.setattr(read_values, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match=r"^the network cannot run on an example of shape \(1, 8\): Checks: "):
        sparsify(Checks(), "sparse_wide", 0.75, torch.randn(4, 8))


def test_a_mistake_is_that_of_the_run_on_shapes() -> None:
    with pytest.raises(UserError, match=r"^the network cannot run on an example of shape \(1, 9\): first: "):
        sparsify(Checks(), "sparse_wide", 0.75, torch.randn(4, 9))


class Detector(nn.Module):
    """Images of any size and, in training mode, targets, as detection networks of torchvision take."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.c, self.d = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 4, 1)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        x = torch.stack([F.interpolate(image[None], (16, 16))[0] for image in images])
        boxes = self.d(self.c(self.b(self.a(x).relu()).relu()).relu()).mean((2, 3))
        if not self.training:
            return {"boxes": boxes}
        true = torch.stack([target["boxes"][0] for target in targets])
        return {"loss": F.l1_loss(boxes, true)}


@pytest.mark.filterwarnings("error")
def test_lists_of_images_and_targets() -> None:
    images = [torch.rand(3, 20, 30), torch.rand(3, 24, 24)]
    targets = [{"boxes": torch.rand(2, 4)}, {"boxes": torch.rand(1, 4)}]
    flops = 2 * 256 * (27 * WIDTH + 18 * WIDTH**2 + 4 * WIDTH)  # of one image
    net, plan = sparsify(Detector(), "sparse_wide", 0.75, (images, targets))
    assert plan.budget == flops and plan.ratio == pytest.approx(1, abs=2e-3)
    assert net.eval()(images)["boxes"].shape == (2, 4)
    assert forward_flops(Detector(), [images[0]]) == forward_flops(Detector(), {"images": images}) == flops


class OfFeatures(Layers):
    """Takes a list of features, each with the batch first."""

    def forward(self, features: list[Tensor]) -> Tensor:
        return super().forward(torch.cat(features, 1))


class OfDict(Layers):
    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": super().forward(batch["x"])}


def test_containers_as_arguments() -> None:
    x, flops = torch.randn(4, 8), 2 * (8 + 2 * WIDTH + 3) * WIDTH
    assert forward_flops(OfFeatures(), [x[:, :3], x[:, 3:]]) == flops
    assert forward_flops(OfFeatures(), ((x[:, :3], x[:, 3:]),)) == flops
    assert forward_flops(OfDict(), ({"x": x},)) == forward_flops(OfDict(), {"batch": {"x": x}}) == flops


@pytest.mark.parametrize(
    ("net", "example", "told"),
    [
        (OfDict(), {"x": torch.randn(4, 8)}, r"expected \(\{...\},\) for a network that takes a dict\)$"),
        (Layers(), [torch.randn(4, 8)], r"\(a list is one argument; expected a tuple of arguments\)$"),
    ],
)
def test_an_example_that_was_meant_in_another_way(net: nn.Module, example: object, told: str) -> None:
    with pytest.raises(UserError, match=told):
        forward_flops(net, example)
