"""Masks of a network that `fully_shard` has spread over the ranks, against those of the same network in one piece.

Each rank has both. The one in one piece has the same weights and gradients on all ranks, set by hand. With three ranks,
parts are of unequal size, and the last rank has nothing of a layer with two outputs.
"""

import os
from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_tensor

from sparseift import Masks
from sparseift.masks.patterns import Block, NofM, Pattern, Unstructured
from sparseift.sparsifiers import SET, DenseWarmup, GraNet, RigL, Sparsifier, Update

SCHEDULE = {"update_interval": 1, "begin": 0.0, "end": 1.0, "drop_fraction": 0.5, "anneal": "cosine"}
STEPS = 4


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 8), nn.Linear(8, 2))


def masked(net: nn.Module, pattern: Pattern) -> Masks:
    """Every second block of 2 x 2 channels is active, so that two of four inputs are."""
    masks = {}
    for name in ("0", "2", "3"):
        weight = net.get_submodule(name).weight
        outputs, inputs = (torch.arange(size) // 2 for size in weight.shape[:2])
        blocks = (outputs[:, None] + inputs) % 2 == 0
        masks[name] = blocks.view(*blocks.shape, *[1] * (weight.dim() - 2)).expand(weight.shape)
    return Masks(net, masks, pattern)


def give_gradients(whole: nn.Module, sharded: nn.Module, step: int) -> None:
    for index, (one, part) in enumerate(zip(whole.parameters(), sharded.parameters(), strict=True)):
        one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(100 * step + index))
        part.grad = distribute_tensor(one.grad, part.device_mesh, part.placements, src_data_rank=None)


def both(pattern: Pattern | None = None) -> tuple[nn.Module, nn.Module, Masks, Masks]:
    whole, sharded = network(), network()
    masks = [masked(net, pattern or Unstructured()) for net in (whole, sharded)]
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    for layer in (0, 2, 3):
        fully_shard(sharded[layer], mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    masks[1].to_weights()
    for each in masks:
        each.apply()
    return whole, sharded, *masks


def same(whole: nn.Module, sharded: nn.Module, masks: Masks, parts: Masks) -> None:
    assert all(torch.equal(parts[name], masks[name]) for name in masks)
    assert parts.active == masks.active and parts.moves == masks.moves
    assert parts.sha256() == masks.sha256() and torch.equal(parts.checksums(), masks.checksums())
    for one, part in zip(whole.parameters(), sharded.parameters(), strict=True):
        assert torch.equal(part.full_tensor(), one)
        assert torch.equal(part.grad.full_tensor(), one.grad)


def train(sparsifier: Sparsifier, kind: Callable[..., torch.optim.Optimizer], pattern: Pattern | None = None) -> None:
    """Three steps with updates and an update give the same masks, weights, gradients and optimizer states."""
    whole, sharded, masks, parts = both(pattern)
    optimizers = [kind(net.parameters()) for net in (whole, sharded)]
    before = masks.sha256()
    for each in (masks, parts):
        sparsifier.start(each, None, seed=0)
        each.apply()
    for step in range(1, STEPS + 1):
        give_gradients(whole, sharded, step)
        for each, optimizer in zip((masks, parts), optimizers, strict=True):
            if sparsifier.due(step, STEPS):
                sparsifier.update(each, [optimizer], Update(step, STEPS, seed=1))
            each.mask_gradients()
            if step < STEPS:
                optimizer.step()
    same(whole, sharded, masks, parts)
    for one, part in zip(whole.parameters(), sharded.parameters(), strict=True):
        for key, value in optimizers[0].state[one].items():
            found = optimizers[1].state[part][key]
            assert torch.equal(found.full_tensor() if value.dim() else found, value), key
    assert masks.sha256() != before
    parts.check([optimizers[1]], sharded)


def stores_a_part() -> None:
    _, _, masks, parts = both()
    sizes: list[int] = [0] * distributed.get_world_size()
    distributed.all_gather_object(sizes, parts.nbytes)
    assert sum(sizes) == masks.nbytes == sum(weight.numel() for weight in masks.weights.values())
    assert max(sizes) < 0.5 * masks.nbytes
    state = parts.state_dict()
    assert all(torch.equal(bits, masks.state_dict()[name]) for name, bits in state.items())
    masks["2"] = masks["2"].flip(0)
    parts.load_state_dict(masks.state_dict())
    assert torch.equal(parts["2"], masks["2"])


def what_one_rank_sees_all_know() -> None:
    """Numbers that are not finite, and masked weights that are not zero: in the part of rank 0 alone."""
    whole, sharded, _, parts = both()
    rigl, optimizer = RigL(**SCHEDULE), torch.optim.SGD(sharded.parameters(), lr=0.1)
    give_gradients(whole, sharded, 1)
    if distributed.get_rank() == 0:
        sharded[0].weight.grad.to_local()[0] = torch.nan
    before = parts.sha256()
    rigl.update(parts, [optimizer], Update(1, STEPS, seed=1))
    assert parts.sha256() == before
    assert parts.nonzero_outside() == []
    if distributed.get_rank() == 0:
        with torch.no_grad():
            sharded[2].weight.to_local().add_(1)
    assert parts.nonzero_outside() == ["2"]


def a_rank_that_chooses_another_mask_is_noticed() -> None:
    _, _, masks, parts = both()
    other = masks["0"].flip(0) if distributed.get_rank() == 1 else masks["0"]
    parts["0"] = other
    sums: list[Tensor] = [torch.zeros(3, dtype=torch.int64) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sums, parts.checksums())
    assert sums[0][0] != sums[1][0] and torch.equal(sums[0][1:], sums[1][1:])


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


def adam(parameters) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.01, amsgrad=True)


def adagrad(parameters) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(parameters, lr=0.01, initial_accumulator_value=0.1)


def main() -> None:
    distributed.init_process_group("gloo")
    train(RigL(**SCHEDULE), adam)
    train(SET(**SCHEDULE), adagrad, Block(size=2, tolerance=1.0))
    train(GraNet(**SCHEDULE, initial_density=0.9, prune_end=0.7), sgd)  # prunes as GMP, grows as RigL
    train(DenseWarmup(until=0.3, then=RigL(**SCHEDULE)), adam, NofM(m=4, tolerance=1.0))
    stores_a_part()
    what_one_rank_sees_all_know()
    a_rank_that_chooses_another_mask_is_noticed()
    distributed.destroy_process_group()
    if os.environ["RANK"] == "0":
        print("all checks passed")


if __name__ == "__main__":
    main()
