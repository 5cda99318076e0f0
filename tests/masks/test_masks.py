"""Masks: exact counts, packed bits, and what they leave alone."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from math import inf, nan, prod, sqrt

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparseift import Masks, Plan, UserError
from sparseift.masks.bits import pack, unpack
from sparseift.masks.masks import random_scores
from sparseift.masks.patterns import Unstructured
from sparseift.masks.topk import largest
from sparseift.sparsity import LayerPlan

quick = settings(deadline=None, max_examples=60)
shapes = st.lists(st.integers(0, 6), max_size=4).map(tuple)

SHAPES = {"0": (6, 5), "1": (6, 5), "2": (3, 3), "3": (1, 1)}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(*(nn.Linear(shape[1], shape[0]) for shape in SHAPES.values()))


def plan_of(active: dict[str, int], shapes: dict[str, tuple[int, ...]] = SHAPES) -> Plan:
    layers = [LayerPlan(n, shapes[n], prod(shapes[n]), count, 2, masked=True) for n, count in active.items()]
    return Plan(tuple(layers), budget=1, params_stored=1)


def masks_of(net: nn.Module, seed: int = 0) -> Masks:
    return Masks.random(net, plan_of({"0": 7, "1": 7, "2": 9, "3": 1}), seed)


# The bits


@quick
@given(shapes, st.randoms(use_true_random=False))
def test_pack_is_little_endian_and_unpack_undoes_it(shape: tuple[int, ...], random) -> None:
    mask = torch.tensor([random.random() < 0.5 for _ in range(prod(shape))], dtype=torch.bool).view(shape)
    packed = pack(mask)
    assert packed.dtype == torch.uint8
    np.testing.assert_array_equal(packed, np.packbits(mask.numpy().reshape(-1), bitorder="little"))
    assert unpack(packed, shape).dtype == torch.bool and torch.equal(unpack(packed, shape), mask)
    assert torch.equal(pack(mask.float()), packed)


def test_pack_reads_a_mask_in_its_own_order_whatever_its_memory_layout() -> None:
    mask = (torch.arange(2 * 3 * 4 * 5) % 7 < 3).view(2, 3, 4, 5)
    assert torch.equal(pack(mask.to(memory_format=torch.channels_last)), pack(mask))
    assert torch.equal(pack(mask.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)), pack(mask))


values = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.5, inf, -inf, 1e-38]) | st.floats(width=16, allow_nan=False)


@quick
@given(st.lists(values, max_size=12), st.integers(-1, 13), st.sampled_from([torch.float32, torch.bfloat16]))
@example([0.0, -0.0, 0.0], 2, torch.float32)
@example([-inf, -inf, 1.0, inf], 3, torch.float32)
def test_largest_is_the_head_of_a_stable_sort(numbers: list[float], count: int, dtype: torch.dtype) -> None:
    tensor = torch.tensor(numbers, dtype=dtype)
    order = sorted(range(len(numbers)), key=lambda i: (-tensor[i].item(), i))
    marked = largest(tensor, count)
    assert marked.dtype == torch.bool
    assert marked.nonzero().flatten().tolist() == sorted(order[: max(0, count)])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_largest_marks_the_wanted_number_among_nans_too(count: int) -> None:
    assert int(largest(torch.tensor([1.0, nan, 2.0, nan]), count).sum()) == count


# Random masks


@quick
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4), st.data())
def test_random_masks_have_the_planned_counts(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    net = nn.Sequential(*(nn.Linear(inputs, outputs) for outputs, inputs in sizes))
    active = {str(i): data.draw(st.integers(1, prod(size))) for i, size in enumerate(sizes)}
    masks = Masks.random(
        net, plan_of(active, {str(i): size for i, size in enumerate(sizes)}), data.draw(st.integers(0))
    )
    assert list(masks) == list(active) and len(masks) == len(active) and masks.active == active
    for name, count in active.items():
        assert masks[name].dtype == torch.bool and masks[name].shape == net[int(name)].weight.shape
        assert int(masks[name].sum()) == count


def test_layers_that_the_plan_leaves_dense_have_no_mask() -> None:
    layers = [LayerPlan(n, s, prod(s), prod(s) - 1, 2, masked=n != "1") for n, s in SHAPES.items()]
    assert list(Masks.random(network(), Plan(tuple(layers), 1, 1), 0)) == ["0", "2", "3"]


def test_seed_and_layer_alone_decide_the_masks() -> None:
    masks = masks_of(network())
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = masks_of(network().bfloat16())
    torch.manual_seed(99)
    assert all(torch.equal(again[name], masks[name]) for name in masks)
    assert again.sha256() == masks.sha256()
    assert torch.equal(torch.get_rng_state(), before), "the global generator is not touched"
    assert not torch.equal(masks["0"], masks["1"]), "layers of one shape differ"
    assert not torch.equal(masks["0"], masks_of(network(), seed=1)["0"])


def test_default_dtype_does_not_change_the_masks() -> None:
    wide = nn.Sequential(nn.Linear(80, 80))
    plan = plan_of({"0": 1600}, {"0": (80, 80)})
    expected = Masks.random(wide, plan, 0)["0"]
    torch.set_default_dtype(torch.bfloat16)  # as Lightning's bf16-true does: 256 different random numbers
    try:
        mask = Masks.random(wide, plan, 0)["0"]
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(mask, expected)


def test_another_process_draws_the_same_masks() -> None:
    """This file is also the program of that process."""
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == masks_of(network()).sha256()


def test_a_seed_is_its_value_whatever_integer_type_holds_it() -> None:
    """numpy 1 writes it as 3, numpy 2 as np.int64(3)."""
    assert masks_of(network(), np.int64(3)).sha256() == masks_of(network(), 3).sha256()


def test_every_place_is_as_likely_as_any_other() -> None:
    net, draws, places, active = nn.Sequential(nn.Linear(6, 5)), 400, 30, 9
    plan = plan_of({"0": active}, {"0": (5, 6)})
    hits = sum(Masks.random(net, plan, seed)["0"].flatten().double() for seed in range(draws))
    p = active / places
    chi_square = ((hits - draws * p) ** 2).sum().item() / (draws * p * (1 - p)) * (places - 1) / places
    assert abs(chi_square - (places - 1)) < 4 * sqrt(2 * (places - 1))


# Masks on weights


def test_apply_silences_the_masked_weights_and_no_others() -> None:
    net = network()
    masks, before = masks_of(net), [layer.weight.detach().clone() for layer in net]
    storage = [layer.weight.data_ptr() for layer in net]
    masks.apply()
    for (name, old), layer in zip(enumerate(before), net, strict=True):
        assert torch.equal(layer.weight, old.where(masks[str(name)], 0))
        assert not layer.weight[~masks[str(name)]].signbit().any(), "checkpoints have to mark negative zeros"
    assert [layer.weight.data_ptr() for layer in net] == storage, "in place: the optimizer holds these tensors"


def test_mask_gradients_leaves_active_gradients_and_skips_missing_ones() -> None:
    net = network()
    masks = masks_of(net)
    for layer in net[:3]:
        layer.weight.grad = torch.randn_like(layer.weight)
    before = [layer.weight.grad.clone() for layer in net[:3]]
    masks.mask_gradients()
    assert net[3].weight.grad is None
    for name, layer in enumerate(net[:3]):
        assert torch.equal(layer.weight.grad, before[name].where(masks[str(name)], 0))


def test_given_masks_are_copied() -> None:
    """A mask of the weight's own dtype is the case that needs no conversion."""
    net = network()
    mine = torch.zeros(6, 5)
    mine[0] = 1
    masks = Masks(net, {"0": mine, "1": mine})
    masks["0"] = torch.arange(30).view(6, 5) < 5
    masks["0"] = ~(torch.arange(30).view(6, 5) < 25)
    assert int(mine[0].sum()) == 5 and masks["1"][0].all()


def test_active_counts_bfloat16_masks_exactly() -> None:
    net = nn.Sequential(nn.Linear(40, 40)).bfloat16()
    mask = torch.ones(40, 40, dtype=torch.bfloat16)
    mask[0, 0] = 0
    assert Masks(net, {"0": mask}).active == {"0": 1599}


# State


def test_state_goes_through_a_file_into_other_masks() -> None:
    masks, file = masks_of(network()), io.BytesIO()
    torch.save(masks.state_dict(), file)
    file.seek(0)
    other = masks_of(network(), seed=5)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert all(torch.equal(other[name], masks[name]) for name in masks)
    assert other.sha256() == masks.sha256() != masks_of(network(), seed=5).sha256()
    other["0"] = ~masks["0"]
    assert other.sha256() != masks.sha256(), "loaded masks share no memory with the saved ones"


def without_last(state: dict[str, Tensor]) -> None:
    del state["3"]


def with_another(state: dict[str, Tensor]) -> None:
    state["head"] = state["0"]


def too_short(state: dict[str, Tensor]) -> None:
    state["2"] = state["2"][:-1]


def one_bit_more(state: dict[str, Tensor]) -> None:
    state["1"] = pack(torch.arange(30) < 8)


@pytest.mark.parametrize(
    ("spoil", "named"), [(without_last, "3"), (with_another, "head"), (too_short, "2"), (one_bit_more, "1")]
)
def test_state_of_another_network_is_refused_whole(spoil: Callable[[dict[str, Tensor]], None], named: str) -> None:
    masks = masks_of(network())
    state, before = masks_of(network(), seed=5).state_dict(), masks.sha256()
    spoil(state)
    with pytest.raises(UserError) as error:
        masks.load_state_dict(state)
    assert "\n" not in str(error.value) and f" {named} " in str(error.value)
    assert masks.sha256() == before, "nothing is taken over from a state that does not fit"


def test_hash_tells_every_single_bit() -> None:
    masks = masks_of(network())
    seen = {masks.sha256()}
    for name in masks:
        old = masks[name]
        for place in range(old.numel()):
            changed = old.clone()
            changed.view(-1)[place] ^= True
            masks[name] = changed
            seen.add(masks.sha256())
        masks[name] = old
    assert len(seen) == 1 + sum(prod(shape) for shape in SHAPES.values())


def test_hash_tells_which_layer_has_which_mask() -> None:
    net = network()
    a, b = torch.arange(30).view(6, 5) < 5, torch.arange(30).view(6, 5) >= 25
    assert Masks(net, {"0": a, "1": b}).sha256() != Masks(net, {"0": b, "1": a}).sha256()
    assert Masks(net, {"0": a}).sha256() != Masks(net, {"1": a}).sha256()


def test_no_masks_at_all_is_fine() -> None:
    masks = Masks(network(), {})
    masks.apply()
    masks.mask_gradients()
    masks.load_state_dict(masks.state_dict())
    assert len(masks) == 0 and masks.active == {} and masks.sha256()


if __name__ == "__main__":
    print(masks_of(network()).sha256())


# What a pattern or a sparsifier of the user's may give


class WrongCount(Unstructured):
    def largest(self, scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
        return super().largest(scores, count - 1, among)


class WrongShape(Unstructured):
    def largest(self, scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
        return super().largest(scores, count, among).flatten()


def test_a_pattern_must_give_masks_of_the_shape_and_number_that_are_planned() -> None:
    plan = plan_of({"0": 7})
    with pytest.raises(UserError, match=r"^the number of active weights of 0 is 6; expected 7, as planned$"):
        Masks.random(network(), plan, 0, WrongCount())
    with pytest.raises(
        UserError, match=r"^the shape of the mask of 0 is \(30,\); expected \(6, 5\), as of its weight$"
    ):
        Masks.random(network(), plan, 0, WrongShape())


@pytest.mark.parametrize("mask", [torch.ones(5, dtype=torch.bool), torch.ones(1, 5, dtype=torch.bool), None])
def test_a_mask_of_another_shape_is_refused_even_if_it_could_be_broadcast(mask) -> None:
    masks = masks_of(network())
    for change in (lambda: masks.move("0", mask, []), lambda: masks.__setitem__("0", mask)):
        with pytest.raises(UserError, match=r"^the shape of the mask of 0 is "):
            change()
    assert masks.active["0"] == 7


def test_layers_with_masked_weights_that_are_not_zero() -> None:
    net = network()
    masks = masks_of(net)
    assert masks.nonzero_outside() == ["0", "1"]
    masks.apply()
    assert masks.nonzero_outside() == []
    with torch.no_grad():
        net[1].weight.view(-1)[int(masks["1"].logical_not().flatten().nonzero()[0])] = -0.25
    assert masks.nonzero_outside() == ["1"]


# Initial masks of given weights


def test_the_largest_weights_are_kept() -> None:
    net, counts = network(), {"0": 7, "2": 9, "3": 1}
    masks = Masks.largest(net, plan_of(counts), seed=0)
    for name, count in counts.items():
        magnitudes = net.get_submodule(name).weight.detach().abs()
        assert int(masks[name].sum()) == count == masks.planned[name]
        assert not (~masks[name]).any() or magnitudes[masks[name]].min() > magnitudes[~masks[name]].max()


def test_layers_with_equal_weights_get_different_masks_of_large_weights() -> None:
    net = nn.Sequential(*(nn.Linear(100, 100) for _ in range(2)))
    net[1].load_state_dict(net[0].state_dict())
    plan = plan_of({"0": 2500, "1": 2500}, {"0": (100, 100), "1": (100, 100)})
    one, other = (masks := Masks.largest(net, plan, seed=0))["0"], masks["1"]
    assert one.sum() == other.sum() == 2500 and not torch.equal(one, other)
    kept = net[0].weight.abs()[one].mean().item()
    magnitudes = net[0].weight.detach().abs().double().flatten().numpy()
    drawn = np.random.default_rng(0).choice(10_000, 2500, replace=False, p=magnitudes / magnitudes.sum())
    assert kept == pytest.approx(magnitudes[drawn].mean(), rel=0.03)
    assert kept > 1.2 * magnitudes.mean()
    assert torch.equal(Masks.largest(net, plan, seed=0)["1"], other)


def test_checksums_tell_masks_apart() -> None:
    """Of one weight that moved, and of the same words in another order; and they are the same in any memory layout."""
    net = nn.Sequential(nn.Linear(16, 16), nn.Conv2d(8, 8, 3))
    first = {"0": torch.arange(256).view(16, 16) % 3 == 0, "1": torch.rand(8, 8, 3, 3) < 0.5}
    sums = Masks(net, first).checksums().tolist()
    assert len(set(sums)) == 2
    moved = first["0"].clone()
    moved[0, :2] = moved[0, :2].flip(0)
    for other in (moved, first["0"].roll(4, 0), ~first["0"]):
        assert Masks(net, {**first, "0": other}).checksums().tolist()[0] != sums[0]
    net.to(memory_format=torch.channels_last)
    assert Masks(net, first).checksums().tolist() == sums


def test_random_masks_do_not_depend_on_the_device() -> None:
    """Scores are drawn on the CPU, and then go to the device of the weight."""
    on_meta = random_scores(torch.empty(5, 7, device="meta"), 0, "layer")
    assert on_meta.is_meta and on_meta.shape == (5, 7)


def test_the_repr_is_a_line_with_the_totals() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    masks = Masks(net, {"0": torch.eye(3, 4), "1": torch.ones(2, 3)})
    assert repr(masks) == "Masks(2 layers, 9 of 18 weights active, density 0.5000)"
    assert repr(Masks(net, {})) == "Masks(0 layers, 0 of 0 weights active)"
