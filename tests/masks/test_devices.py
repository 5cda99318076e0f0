"""Masks on devices that are not there: a fake CUDA device, on which mixing devices or reading a value raises, and the
meta device."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from sparseift import Masks
from sparseift.common.seeds import uniform_like
from sparseift.data.images.augment import Augment, Normalize, keys_of
from sparseift.masks.bits import checksum, ones, pack, unpack
from sparseift.masks.history import MaskHistory, dead_channels
from sparseift.masks.inplace import laid_out_as, mask_all_in_place, mask_in_place
from sparseift.masks.masks import random_scores
from sparseift.masks.patterns import NofM, Unstructured
from sparseift.masks.topk import grow, largest
from sparseift.sparsifiers import SET, RigL

SHAPE = (8, 4, 3, 3)
MOVING = {"update_interval": 1, "begin": 0, "end": 1.0, "drop_fraction": 0.5, "anneal": "constant"}


@pytest.fixture(params=["cuda", "meta"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    if request.param == "meta":
        yield torch.device("meta")
        return
    with FakeTensorMode():
        yield torch.device("cuda")


@pytest.fixture
def weight(device: torch.device) -> Tensor:
    return torch.empty(SHAPE, device=device)


@pytest.fixture
def mask(device: torch.device) -> Tensor:
    return torch.empty(SHAPE, dtype=torch.bool, device=device)


def on(device: torch.device, *tensors: Tensor) -> None:
    assert {tensor.device.type for tensor in tensors} == {device.type}


def test_the_fake_device_raises() -> None:
    with FakeTensorMode():
        there = torch.empty(3, device="cuda")
        with pytest.raises(DataDependentOutputException):
            there.sum().item()
        with pytest.raises(Exception, match="on the same device"):
            there + torch.empty(3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_masking(device: torch.device, mask: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> None:
    values = torch.empty(SHAPE, dtype=dtype, device=device).to(memory_format=layout)
    fitting = laid_out_as(values, mask)
    assert fitting.stride() == values.stride()
    mask_in_place(values, fitting)
    mask_all_in_place([(values, fitting), (values, mask)])
    on(device, values, fitting)


def test_packing(device: torch.device, mask: Tensor) -> None:
    bits = pack(mask)
    assert bits.shape == (36,) and unpack(bits, SHAPE).shape == SHAPE
    on(device, bits, unpack(bits, SHAPE), ones(bits), checksum(mask), dead_channels(mask))


def test_random_scores(device: torch.device, weight: Tensor) -> None:
    on(device, uniform_like(weight, 3), random_scores(weight, 0, "layer"))


def test_selection(device: torch.device, weight: Tensor, mask: Tensor) -> None:
    """Of a known number, without a look at what it selects from."""
    for count in (0, 1, 100, weight.numel()):
        on(device, largest(weight, count), largest(weight, count, among=mask), grow(weight, mask, count))
    pattern = NofM(m=4, tolerance=9.0)
    on(device, pattern.largest(weight, pattern.count(SHAPE, 2)))


def test_new_masks_of_an_update(device: torch.device, weight: Tensor, mask: Tensor) -> None:
    """All of drop and grow up to the new mask, which is read once."""
    layer = nn.Conv2d(4, 8, 3, bias=False, device=device)
    layer.weight.grad = torch.empty_like(layer.weight)
    masks = Masks.__new__(Masks)
    masks.layers, masks._masks, masks.active, masks.pattern = {"0": layer}, {"0": mask}, {"0": 100}, Unstructured()
    masks._checksums = {}
    for sparsifier in (RigL(**MOVING), SET(**MOVING)):
        with torch.no_grad():
            on(device, sparsifier._updated(masks, "0", 0.3, seed=5))
    masks.mask_gradients()
    masks.apply()
    on(device, masks.checksums())


def test_history(device: torch.device, mask: Tensor) -> None:
    history = MaskHistory()
    counted = [history._count("layer", mask) for _ in range(2)]
    on(device, *counted, *history.last.values(), *history.union.values())


def test_augmentation(device: torch.device) -> None:
    images = torch.empty(6, 3, 8, 8, dtype=torch.uint8, device=device)
    keys = keys_of(torch.arange(6, device=device), seed=0, epoch=1)
    augment = Augment(Normalize([0.5] * 3, [0.5] * 3), padding=2, flip=True, cutout=3)
    on(device, augment(images, keys))
