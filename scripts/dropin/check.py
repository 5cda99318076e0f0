"""The plan of a row, and the check with real weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, UserError, sparsify
from sparseift.graph.copies import duplicate
from sparseift.graph.examples import tensor_leaves
from sparseift.sparsifiers import RigL, Update
from sparseift.sparsity import Plan

from .counting import counted_ratio
from .networks import Network
from .rows import Row


def fill_in(row: Row, network: Network) -> None:
    """Set the plan of a row, or the reason why the network is rejected."""
    row.image, row.dense = network.image, sum(parameter.numel() for parameter in network.on_meta.parameters())
    try:
        net, plan = sparsify(network.on_meta, row.member, row.sparsity, network.example)
        layers = plan
        if plan.products:
            _, layers = sparsify(network.on_meta, row.member, row.sparsity, network.example, budget="layers")
    except UserError as error:
        row.refusal = str(error)
        return
    row.budget, row.ratio, row.layers_ratio = plan.budget, plan.ratio, layers.ratio
    row.stored, row.active = plan.params_stored, plan.params_active
    row.torch_dense = network.counted
    row.torch_ratio = counted_ratio(net, network.example, plan, network.counted)


class Failed(Exception):
    """The network fails the check."""


def check(row: Row, network: Network) -> str:
    """Check a row that has a plan, with real weights. Returns 'passed', or what failed."""
    try:
        net, plan = sparsify(network.real, row.member, row.sparsity, network.example)
        if (plan.params_stored, plan.params_active, plan.ratio) != (row.stored, row.active, row.ratio):
            raise Failed("the plan differs from that of the table")
        before = duplicate(net)
        check_step(net, plan, network.images)
        before.load_state_dict(net.state_dict())
        with torch.no_grad():
            outputs, again = net.eval()(network.images), before.eval()(network.images)
        check_finite(outputs, "the outputs after a step")
        if not torch.equal(outputs, again):
            raise Failed("a network with its state dict gives other outputs")
    except Failed as error:
        return str(error)
    return "passed"


def check_step(net: nn.Module, plan: Plan, *args: Tensor, **kwargs: Tensor) -> None:
    """Do a training step with a RigL update. The network is called with the arguments, and returns logits."""
    masks = Masks.random(net, plan, seed=0)
    masks.apply()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    rigl = RigL(update_interval=1, begin=0.0, end=1.0, drop_fraction=0.3, anneal="constant")
    outputs = [logits.flatten(0, -2) for logits in tensor_leaves(net.train()(*args, **kwargs))]  # of all heads
    check_finite(outputs, "the outputs")
    sum(F.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[1]) for logits in outputs).backward()
    check_finite([weight.grad for weight in masks.weights.values() if weight.grad is not None], "the gradients")
    rigl.update(masks, [optimizer], Update(step=1, total=10, seed=0))
    if not any(masks.moves.values()):
        raise Failed("RigL moved no weight")
    masks.mask_gradients()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # deep networks with batch norm may start with huge gradients
    optimizer.step()
    for name, layer in plan.masked.items():
        weight, mask = masks.weights[name].detach(), masks[name]
        if mask.count_nonzero() != layer.active or weight.masked_fill(mask, 0).any():
            raise Failed(f"{name} has left its mask")


def check_finite(tree: object, what: str) -> None:
    ends = [torch.stack(torch.aminmax(tensor.detach())) for tensor in tensor_leaves(tree)]  # aminmax of NaN is NaN
    if not all(bool(end.isfinite().all()) for end in ends):
        raise Failed(f"{what} are not finite")
