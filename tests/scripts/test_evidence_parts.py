"""The statistics of scripts/evidence, and its grid."""

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import sparseift.app.program  # noqa: F401  (registers the resolvers of the configs)
from sparseift.app.overrides import plain_choice
from sparseift.runs.read import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")


def outcomes(scores: dict[str, list[float]], flops: dict[str, float]):
    """Outcomes of rows of images: accuracies by row, one a seed, and FLOPs."""
    from evidence_parts.outcomes import Outcomes

    def run(row: str, score: float) -> Run:
        results = {"test": {"acc1": score / 100}, "flops": {"forward": flops[row]}, "seconds": 1.0}
        return Run(Path(row), "finished", results=results)

    part = next(iter(grid().values()))
    part = replace(part, yardsticks=[(row, "dense") for row in scores if row.startswith("larger")])
    runs = {row: {seed: run(row, score) for seed, score in enumerate(values)} for row, values in scores.items()}
    return Outcomes(part, runs)


def grid():
    from evidence_parts.grid import parts

    return parts()


def test_gain_is_the_paired_t_interval() -> None:
    """Against the formula, with the quantile of the t table for 3 degrees of freedom."""
    from evidence_parts.outcomes import gain

    ours, theirs = [85.0, 86.5, 84.0, 85.5], [84.0, 85.0, 84.5, 84.5]
    found = gain(outcomes({"wide": ours, "dense": theirs}, {"wide": 1, "dense": 1}), "wide", "dense")
    pairs = [a - b for a, b in zip(ours, theirs, strict=True)]
    reach = 3.18245 * stdev(pairs) / sqrt(4)
    assert found.mean == pytest.approx(mean(pairs))
    assert found.interval == pytest.approx((mean(pairs) - reach, mean(pairs) + reach), rel=1e-5)
    assert found.how == "4 pairs" and 0.05 < found.p < 0.5


def test_holm_by_hand() -> None:
    from evidence_parts.outcomes import holm

    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_worth_lies_between_the_dense_networks() -> None:
    from evidence_parts.outcomes import worth

    one = outcomes(
        {"dense": [80, 80], "larger_2": [82, 82], "larger_4": [84, 84], "wide": [83, 83], "bad": [79, 79]},
        {"dense": 1, "larger_2": 2, "larger_4": 4, "wide": 1, "bad": 1},
    )
    assert worth(one, "wide") == pytest.approx(2 * sqrt(2))
    assert worth(one, "bad") is None


def test_differences_are_of_rows_of_the_grid() -> None:
    for part in grid().values():
        named = {row for kind in (part.yardsticks, part.primary, part.secondary) for pair in kind for row in pair}
        assert named == set(part.rows)


@pytest.mark.parametrize("name", ["images", "text", "length"])
def test_every_row_is_a_run_of_its_own(name: str) -> None:
    part, seen = grid()[name], {}
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for row, overrides in part.rows.items():
            config = compose("train", [plain_choice(one) for one in f"{part.common} {overrides}".split()])
            chosen = [config[node] for node in ("model", "member", "sparsity", "sparsifier", "pattern", "recipe")]
            seen[row] = json.dumps([OmegaConf.to_container(node) for node in chosen])
    assert len(set(seen.values())) == len(part.rows)


def test_a_stepper_trains_as_a_run_does() -> None:
    from evidence_parts.times import Stepper

    overrides = "dataset=digits member=sparse_wide sparsity=0.75 sparsifier=rigl sparsifier.update_interval=20"
    stepper = Stepper(f"{overrides} recipe.epochs=3 dataset.batch_size=128 model.base_width=4", "masked", 0)
    masks, before = stepper.run.masks, {name: stepper.run.masks[name].clone() for name in stepper.run.masks}
    weights = [weight.detach().clone() for weight in stepper.run.net.parameters()]
    stepper.step()
    assert all((masks[name] == mask).all() for name, mask in before.items())
    assert any((old != new).any() for old, new in zip(weights, stepper.run.net.parameters(), strict=True))
    stepper.update()
    assert any((masks[name] != mask).any() for name, mask in before.items())
    assert not masks.nonzero_outside()
    total = 3 * len(stepper.run.data.train_dataloader())  # updates every 20 steps until three quarters
    assert stepper.share_of_updates == pytest.approx(int(0.75 * total) // 20 / total)


def test_times_are_relative_to_the_dense_network_of_the_same_round() -> None:
    from evidence_parts.times import relative

    found = relative({"dense": {"masked": [1.0, 2.0, 4.0]}, "wide": {"masked": [3.0, 4.0, 4.0], "sparse": [1.0, 1, 4]}})
    assert found["dense"] == {"masked": [1, 1, 1]}
    assert found["wide"] == {"masked": [2, 1, 3], "sparse": [1, 0.5, 1]}
