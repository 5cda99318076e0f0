"""Pruning at initialisation: scores against finite differences and path sums, choices against plain loops."""

import copy
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, UserError
from sparseift.sparsifiers import FORCE, SNIP, GraSP, Probe, SynFlow
from sparseift.tasks import Classification

from ..helpers import flat, mlp, plan_of

NAMES = ("0", "4")
TASK = Classification(3, 2, 4, label_smoothing=0.0)


class Small(nn.Sequential):
    """Two convolutions with batch norm, in double precision, so that differences are exact to many digits."""

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm2d, noise: float = 0.0):
        torch.manual_seed(0)
        super().__init__(
            nn.Conv2d(2, 3, 3), norm(3), nn.Tanh(), nn.Dropout(noise), nn.Conv2d(3, 2, (1, 2)),
            nn.Flatten(), nn.Linear(2 * 2 * 1, 3),
        )  # fmt: skip
        self.double()


def batches_of(count: int = 2, size: int = 5) -> list[tuple[Tensor, Tensor]]:
    data = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 2, 4, 4, generator=data, dtype=torch.float64), torch.randint(3, (size,), generator=data))
        for _ in range(count)
    ]


def masks_of(net: nn.Module, price: Mapping[str, int] | None = None, share: float = 0.4) -> tuple[Masks, object]:
    active = {name: int(share * net.get_submodule(name).weight.numel()) for name in NAMES}
    plan = plan_of(net, active, price)
    return Masks.random(net, plan, 0), plan


def loss_of(net: nn.Module, batches: list[tuple[Tensor, Tensor]], temperature: float = 1.0) -> Tensor:
    """In training mode."""
    net.train()
    return sum(F.cross_entropy(net(images) / temperature, labels) for images, labels in batches) / len(batches)


def differences(net: nn.Module, value: Callable[[nn.Module], float], step: float = 1e-5) -> dict[str, Tensor]:
    """d value / d weight by central differences."""
    net = copy.deepcopy(net)
    result = {}
    for name in NAMES:
        weight = net.get_submodule(name).weight.data.view(-1)
        slopes = []
        for i, at in enumerate(weight.tolist()):
            weight[i] = at + step
            above = value(net)
            weight[i] = at - step
            below = value(net)
            weight[i] = at
            slopes.append((above - below) / (2 * step))
        result[name] = torch.tensor(slopes, dtype=torch.float64)
    return result


def scores_of(method, net: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    masks, _ = masks_of(net)
    weights = {name: weight.detach() for name, weight in masks.weights.items()}
    ones = {name: torch.ones_like(weight).bool() for name, weight in weights.items()}
    return method.scores(weights, ones, Probe(net, masks.weights, batches, TASK))


def agree(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    for name in NAMES:
        assert found[name].abs().max() > 0
        torch.testing.assert_close(
            found[name].flatten(), expected[name].flatten(), rtol=tolerance, atol=tolerance * 1e-2
        )


def test_snip_is_the_loss_sensitivity_to_a_factor_on_each_weight() -> None:
    net, batches = Small(), batches_of()
    slopes = differences(net, lambda net: loss_of(net, batches).item())
    expected = {name: (slopes[name] * net.get_submodule(name).weight.flatten()).abs() for name in NAMES}
    agree(scores_of(SNIP(batches=2), net, batches), expected, 1e-6)


def test_grasp_is_the_change_of_the_gradient_flow() -> None:
    """w (H g), with H g the slope of |g|^2 / 2 over the masked weights."""
    net, batches, temperature = Small(), batches_of(), 3.0

    def half_gradient_norm(net: nn.Module) -> float:
        net.zero_grad()
        loss_of(net, batches, temperature).backward()
        return sum(float(net.get_submodule(name).weight.grad.square().sum()) for name in NAMES) / 2

    slopes = differences(net, half_gradient_norm)
    expected = {name: slopes[name] * net.get_submodule(name).weight.flatten() for name in NAMES}
    agree(scores_of(GraSP(batches=2, temperature=temperature), net, batches), expected, 1e-5)


def test_synflow_is_the_flow_that_is_lost_without_the_weight() -> None:
    """The flow is linear in every weight after the last bend. Norms are left out, and the last layer takes part though
    it is not masked."""
    net = Small()
    magnitudes = {name: tensor.detach().abs() for name, tensor in net.named_parameters()}

    def flow(weights: Mapping[str, Tensor]) -> float:
        features = F.conv2d(torch.ones(1, 2, 4, 4, dtype=torch.float64), weights["0.weight"], weights["0.bias"]).tanh()
        features = F.conv2d(features, weights["4.weight"], weights["4.bias"]).flatten(1)
        return float(F.linear(features, weights["6.weight"], weights["6.bias"]).sum())

    def lost(name: str, index: int) -> float:
        changed = dict(magnitudes)
        changed[name] = changed[name].clone()
        changed[name].view(-1)[index] = 0
        return flow(magnitudes) - flow(changed)

    found = scores_of(SynFlow(iterations=1), net, batches_of(1))["4"].flatten()
    expected = torch.tensor([lost("4.weight", i) for i in range(len(found))], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, lambda width: nn.GroupNorm(1, width), nn.Identity])
def test_norms_do_not_stop_the_flow(norm: Callable[[int], nn.Module]) -> None:
    """They make zeros of the equal values that an input of ones may give, and the flow is one of magnitudes."""
    assert not torch.equal(Small(norm)(batches_of(1)[0][0]), Small(nn.BatchNorm2d)(batches_of(1)[0][0]))
    found, expected = (scores_of(SynFlow(iterations=1), Small(kind), batches_of(1)) for kind in (norm, nn.BatchNorm2d))
    assert all(torch.equal(found[name], expected[name]) for name in NAMES)


@pytest.mark.parametrize("bias", [False, True])
def test_synflow_of_rectifiers_is_a_sum_over_paths(bias: bool) -> None:
    net = mlp(3, 4, 2, 3)
    if not bias:
        for layer in (net[0], net[2], net[4]):
            layer.bias.data.zero_()
    (w1, b1), (w2, _), (w3, _) = ((net[i].weight.abs().tolist(), net[i].bias.abs().tolist()) for i in (0, 2, 4))
    ends = [sum(row[j] for row in w3) for j in range(2)]
    through = [sum(w2[j][i] * ends[j] for j in range(2)) for i in range(4)]
    arriving = [sum(w1[i]) + b1[i] for i in range(4)]
    weights = {name: net.get_submodule(name).weight.detach() for name in ("0", "2", "4")}
    ones = {name: torch.ones_like(weight).bool() for name, weight in weights.items()}
    batch = [(torch.zeros(2, 3), torch.zeros(2).long())]
    probe = Probe(net, {name: net.get_submodule(name).weight for name in weights}, batch, TASK)
    found = SynFlow(iterations=1).scores(weights, ones, probe)
    expected = {
        "0": [[w1[i][k] * through[i] for k in range(3)] for i in range(4)],
        "2": [[arriving[i] * w2[j][i] * ends[j] for i in range(4)] for j in range(2)],
    }
    for name, values in expected.items():
        torch.testing.assert_close(found[name], torch.tensor(values, dtype=torch.float64), rtol=1e-6, atol=1e-9)
    layers = [float(score.sum()) for score in found.values()]
    assert bias or layers == pytest.approx([layers[0]] * 3), "the flow is conserved (theorem 1)"


METHODS = [SNIP(batches=2), GraSP(batches=2, temperature=200), FORCE(batches=2, iterations=4), SynFlow(iterations=4)]
ids = [type(method).__name__ for method in METHODS]


def by_hand(method, net: nn.Module, batches: list[tuple[Tensor, Tensor]], price: Mapping[str, int], end: int):
    """The masks by sorting a list in every iteration; gradients by backward() on copies."""
    weights = {name: net.get_submodule(name).weight.detach() for name in NAMES}
    full = sum(price[name] * weights[name].numel() for name in NAMES)
    masks = {name: torch.ones_like(weights[name]) for name in NAMES}
    for iteration in range(1, method.iterations + 1):
        budget = end if iteration == method.iterations else full * (end / full) ** (iteration / method.iterations)
        copied = copy.deepcopy(net)
        for name in NAMES:
            copied.get_submodule(name).weight.data *= masks[name]
        if isinstance(method, FORCE | SNIP):
            loss_of(copied, batches).backward()
            scores = {name: (copied.get_submodule(name).weight.grad * weights[name]).abs() for name in NAMES}
        elif isinstance(method, SynFlow):
            for parameter in copied.parameters():
                parameter.data.abs_()
            copied[1] = nn.Identity()
            copied.eval()(torch.ones(1, 2, 4, 4, dtype=torch.float64)).sum().backward()
            scores = {n: copied.get_submodule(n).weight.grad * copied.get_submodule(n).weight.data for n in NAMES}
        else:
            scores = scores_of(method, net, batches)
        ranked = sorted(
            ((-score, name, i) for name in NAMES for i, score in enumerate(scores[name].flatten().tolist())),
            key=lambda item: item[0],
        )
        masks = {name: torch.zeros_like(weights[name]) for name in NAMES}
        spent = 0
        for _, name, i in ranked:
            spent += price[name]
            if spent > budget:
                break
            masks[name].view(-1)[i] = 1
    return masks


@pytest.mark.parametrize("price", [None, {"0": 8, "4": 5}], ids=["parameters", "flops"])
@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_the_best_scores_stay_for_what_the_plan_pays(method, price: dict[str, int] | None) -> None:
    net, batches = Small(), batches_of()
    masks, plan = masks_of(net, price)
    unit = price or {"0": 1, "4": 1}
    end = sum(unit[name] * count for name, count in masks.planned.items())
    method.start(masks, plan, seed=0, probe=Probe(net, masks.weights, batches, TASK))
    for name, expected in by_hand(method, net, batches, unit, end).items():
        assert flat(masks[name]) == flat(expected.bool()), name
    spent = sum(unit[name] * count for name, count in masks.active.items())
    assert end - max(unit.values()) < spent <= end
    assert (spent == end) or price, "a sparsity is met exactly"
    assert masks.active != masks.planned, "layers share the budget by score"


def test_iterations_bring_weights_back_in_force() -> None:
    net, batches = Small(), batches_of()
    masks, plan = masks_of(net, share=0.3)
    seen = []

    class Recording(FORCE):
        def scores(self, weights, masks, probe):
            seen.append(masks)
            return super().scores(weights, masks, probe)

    Recording(batches=2, iterations=12).start(masks, plan, seed=0, probe=Probe(net, masks.weights, batches, TASK))
    assert any((new[name] & ~old[name]).any() for old, new in pairwise(seen) for name in NAMES)


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_no_trace_is_left(method) -> None:
    net, batches = Small(noise=0.3), batches_of()
    net[1].eval()
    loss_of(net, batches).backward()
    net.train()
    net[1].eval()
    masks, plan = masks_of(net)
    before = copy.deepcopy(net.state_dict())
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    torch.manual_seed(5)
    generator = torch.get_rng_state()
    method.start(masks, plan, seed=0, probe=Probe(net, masks.weights, batches, TASK))
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(net.parameters(), gradients, strict=True))
    assert [module.training for module in net] == [True, False, True, True, True, True, True] and net.training
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


class Residual(nn.Module):
    def __init__(self, gain: float):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.branch, self.norm = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.head = nn.Linear(12, 3)
        nn.init.constant_(self.norm.weight, gain)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        return self.head((features + self.norm(self.branch(features))).relu().flatten(1))


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_a_residual_branch_that_starts_at_zero_is_scored_as_one_that_does_not(method) -> None:
    chosen, batches = [], [(images.float(), labels) for images, labels in batches_of()]
    for gain in (0.0, 1.0):
        net = Residual(gain)
        plan = plan_of(net, {"stem": 20, "branch": 30})
        masks = Masks.random(net, plan, 0)
        method.start(masks, plan, seed=0, probe=Probe(net, masks.weights, batches, TASK))
        assert net.norm.weight.eq(gain).all()
        chosen.append(masks.sha256())
    assert masks.active["branch"] > 0 and chosen[0] == chosen[1]


def test_attention_can_be_scored() -> None:
    """The fast kinds of attention have no second derivative."""
    torch.manual_seed(0)
    attention = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    net = nn.Sequential(nn.Linear(8, 8), attention, nn.Flatten(), nn.Linear(40, 3))
    masks, plan = Masks.random(net, plan_of(net, {"0": 50}), 0), plan_of(net, {"0": 50})
    probe = Probe(net, masks.weights, [(torch.randn(4, 5, 8), torch.tensor([0, 1, 2, 0]))], TASK)
    GraSP(batches=1, temperature=2).start(masks, plan, seed=0, probe=probe)
    assert masks.active == {"0": 50}


@pytest.mark.parametrize("method", [SNIP(batches=1), FORCE(batches=1, iterations=3), GraSP(batches=1, temperature=2)])
def test_ranks_agree_and_score_as_one_rank_with_all_batches(method) -> None:
    """Threads stand in for ranks; each has one of the two batches."""
    net, batches = Small(), batches_of(2)
    alone, plan = masks_of(net)
    method.start(alone, plan, seed=0, probe=Probe(net, alone.weights, batches, TASK))
    slots, barrier = [None, None], Barrier(2, timeout=30)

    def rank(number: int) -> str:
        def mean(tensor: Tensor) -> Tensor:
            slots[number] = tensor
            barrier.wait()
            result = (slots[0] + slots[1]) / 2
            barrier.wait()
            return result

        own = copy.deepcopy(net)
        masks, _ = masks_of(own)
        method.start(masks, plan, seed=0, probe=Probe(own, masks.weights, [batches[number]], TASK, mean))
        return masks.sha256()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(rank, (0, 1))) == [alone.sha256()] * 2


def test_the_mean_over_ranks_is_taken_of_gradients_not_of_scores() -> None:
    """Opposite gradients on two ranks cancel; their magnitudes would not."""
    net, batches = Small(), batches_of(1)
    masks, _ = masks_of(net)
    seen = []
    probe = Probe(net, masks.weights, batches, TASK, lambda tensor: seen.append(tensor) or torch.zeros_like(tensor))
    weights = {name: weight.detach() for name, weight in masks.weights.items()}
    scores = SNIP(batches=1).scores(weights, weights, probe)
    assert not any(score.any() for score in scores.values())
    assert any((tensor < 0).any() for tensor in seen)


def test_samples_are_counted_forward_and_backward() -> None:
    net, batches = Small(), batches_of(2, size=5)
    masks, plan = masks_of(net)
    for method, samples in zip(METHODS, (10, 20, 40, 4), strict=True):
        probe = Probe(net, masks.weights, batches, TASK)
        method.start(masks, plan, seed=0, probe=probe)
        assert probe.samples == samples, type(method).__name__


@pytest.mark.parametrize(
    "make", [lambda: SNIP(batches=0), lambda: FORCE(batches=1, iterations=0), lambda: SynFlow(iterations=1.5)]
)
def test_mistakes(make: Callable[[], object]) -> None:
    with pytest.raises(UserError, match="expected an integer >= 1"):
        make()


def test_a_start_without_batches_is_refused() -> None:
    masks, plan = masks_of(Small())
    with pytest.raises(UserError, match="SNIP"):
        SNIP(batches=1).start(masks, plan, seed=0)


def test_masks_never_move() -> None:
    assert not any(SNIP(batches=1).due(step, 100) for step in range(101))


class Dicts(Classification):
    """Dict outputs, from batches of dicts."""

    def inputs(self, batch: dict[str, Tensor]) -> tuple[tuple, dict]:
        return (), {"x": batch["x"]}

    def loss(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs["y"], batch["target"], reduction="none")

    def samples(self, batch: dict[str, Tensor]) -> int:
        return len(batch["target"])


class Named(Small):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": super().forward(x)}


def test_inputs_and_loss_are_of_the_task() -> None:
    batches, task = batches_of(), Dicts(3, 2, 4, label_smoothing=0.0)
    dicts = [{"x": inputs, "target": labels} for inputs, labels in batches]
    net = Named()
    masks, _ = masks_of(net)
    weights = {name: weight.detach() for name, weight in masks.weights.items()}
    probe = Probe(net, masks.weights, dicts, task)
    expected = scores_of(SNIP(batches=2), Small(), batches)
    found = SNIP(batches=2).scores(weights, weights, probe)
    assert all(torch.equal(found[name], expected[name]) for name in NAMES) and probe.samples == 10
    for method in (GraSP(batches=2, temperature=2), SynFlow(iterations=1)):
        with pytest.raises(UserError, match="needs a network whose output is a tensor, not dict"):
            method.scores(weights, weights, probe)


def test_synflow_refuses_tokens() -> None:
    net = nn.Sequential(nn.Embedding(5, 8), nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3))
    masks = Masks.random(net, plan_of(net, {"2": 50}), 0)
    probe = Probe(net, masks.weights, [(torch.zeros(4, 3, dtype=torch.long), torch.tensor([0, 1, 2, 0]))], TASK)
    with pytest.raises(UserError, match=r"SynFlow needs a network with floating-point inputs, not torch.int64"):
        SynFlow(iterations=1).scores(dict(masks.weights), {"2": masks["2"]}, probe)
