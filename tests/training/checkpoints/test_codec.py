"""Packed checkpoints come back to the bit, whatever is in them; only what is zero outside a mask is packed."""

import io
from math import log2
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparseift.masks.bits import pack
from sparseift.training.checkpoints.codec import packed, unpacked

SHAPE = (7, 5, 3, 3)
NAN = float("nan")


def checkpoint(masks: dict[str, Tensor], **parts: Any) -> dict[str, Any]:
    """Of a network with a weight of ones under each mask, where `parts` does not say otherwise."""
    state = {f"net.{name}.weight": mask.float() for name, mask in masks.items()}
    saved = {name: pack(mask) for name, mask in masks.items()}
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    return {"state_dict": state, "callbacks": {"MaskCallback": {"masks": saved, "active": counts}}, **parts}


def written(content: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """What is read of a file, and its size."""
    file = io.BytesIO()
    torch.save(content, file)
    size = file.tell()
    file.seek(0)
    return torch.load(file, weights_only=True), size


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(bits(one), bits(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


@pytest.fixture
def mask() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.3


VALUES = st.sampled_from([0.0, -0.0, 1.5, -2.0, 1e-45, float("inf"), -float("inf"), NAN])


@settings(deadline=None)
@given(inside=VALUES, outside=VALUES, seed=st.integers(0, 9), dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_any_value_comes_back_to_the_bit(inside: float, outside: float, seed: int, dtype: torch.dtype) -> None:
    mask = torch.rand(5, 3, generator=torch.Generator().manual_seed(seed)) < 0.5
    tensor = torch.where(mask, inside, outside).to(dtype)
    tensor[0] = 0.0
    content = checkpoint({"a": mask}, extra=[tensor])
    back, _ = written(packed(content))
    assert same(unpacked(back), content)


def test_negative_zeros_come_back(mask: Tensor) -> None:
    weight = -torch.ones(SHAPE) * mask
    assert weight.signbit().all() and (weight == 0).any()
    content = checkpoint({"a": mask}, moment={"b": weight.abs(), "c": weight})
    back, _ = written(packed(content))
    assert "negative_zeros" in back["moment"]["c"] and "negative_zeros" not in back["moment"]["b"]
    assert same(unpacked(back), content)


def test_each_tensor_is_packed_by_a_mask_that_covers_it(mask: Tensor) -> None:
    """Also where layers have one shape, and state comes in another order than the layers."""
    masks = {name: mask.roll(number, 0) for number, name in enumerate("abcd")}
    moments = [masks[name] * torch.randn(SHAPE) for name in "dbbac"]
    content = checkpoint(masks, optimizer_states=[{"state": {i: {"m": m} for i, m in enumerate(moments)}}])
    small = packed(content)
    state = small["optimizer_states"][0]["state"]
    assert [state[i]["m"]["masked_by"] for i in range(5)] == list("dbbac")
    assert [small["state_dict"][f"net.{name}.weight"]["masked_by"] for name in "abcd"] == list("abcd")
    assert same(unpacked(small), content)


def test_what_is_not_masked_stays_as_it_is(mask: Tensor) -> None:
    almost = mask.float()
    almost[~mask] = torch.zeros(int((~mask).sum())).index_fill(0, torch.tensor([4]), 1e-45)
    content = checkpoint(
        {"a": mask},
        weights=[torch.ones(SHAPE), almost, torch.zeros(3), mask, mask.int(), 5, "x", None, (1, 2)],
    )
    small = packed(content)
    for before, after in zip(content["weights"], small["weights"], strict=True):
        assert before is after
    assert packed(checkpoint({}))["state_dict"] == {}
    dense = checkpoint({"a": torch.ones(SHAPE, dtype=torch.bool)})
    assert packed(dense)["state_dict"]["net.a.weight"] is dense["state_dict"]["net.a.weight"]
    assert packed({"step": 3}) == {"step": 3} == unpacked({"step": 3})


def test_the_original_is_not_touched(mask: Tensor) -> None:
    content = checkpoint({"a": mask}, list=[mask.float()])
    packed(content)
    assert isinstance(content["state_dict"]["net.a.weight"], Tensor) and isinstance(content["list"][0], Tensor)


def test_a_dense_checkpoint_is_read_as_it_is(mask: Tensor) -> None:
    content = checkpoint({"a": mask})
    assert same(unpacked(written(content)[0]), content)


def test_state_dicts_keep_their_metadata(mask: Tensor) -> None:
    state = nn.Sequential(nn.BatchNorm2d(2)).state_dict()
    back = unpacked(written(packed(checkpoint({"a": mask}, norm=state)))[0])["norm"]
    assert type(back) is type(state) and back._metadata == state._metadata


def test_a_tenth_of_the_size_at_a_density_of_a_tenth() -> None:
    """Weights and momentum: 8 bytes a weight and a bit of mask; 0.8 and half a bit if packed."""
    masks = {name: torch.rand(64, 64, 3, 3) < 0.1 for name in "abcdef"}
    content = checkpoint(masks, momenta=[torch.randn(mask.shape) * mask for mask in masks.values()])
    for momentum in content["momenta"]:
        momentum += 0.0  # no negative zeros
    back, size = written(packed(content))
    assert size < 0.11 * written(content)[1]
    assert same(unpacked(back), content)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.25, 0.5])
def test_masks_take_few_more_bits_than_their_entropy(density: float) -> None:
    mask = torch.rand(512, 512, generator=torch.Generator().manual_seed(0)) < density
    content = checkpoint({"a": mask})
    saved = packed(content)["callbacks"]["MaskCallback"]["masks"]["a"]
    entropy = -(density * log2(density) + (1 - density) * log2(1 - density))
    bits = 8 * (saved if density == 0.5 else saved["coded"]).numel() / mask.numel()
    assert entropy - 0.01 < bits < max(entropy + 0.02, 0.2)  # a byte takes a bit at the least
    assert same(unpacked(written(packed(content))[0]), content)


def test_masks_that_are_equal_are_written_once(mask: Tensor) -> None:
    """A history has four of each layer, which differ only where masks have moved."""
    content = checkpoint({"layer": mask})
    content["callbacks"]["Topology"] = {"first": {"layer": pack(~mask)}, "last": {"layer": pack(mask)}}
    after, _ = written(packed(content))
    assert same(unpacked(after), content)
    saved, history = after["callbacks"]["MaskCallback"]["masks"]["layer"], after["callbacks"]["Topology"]
    assert saved.data_ptr() == history["last"]["layer"].data_ptr() != history["first"]["layer"].data_ptr()
