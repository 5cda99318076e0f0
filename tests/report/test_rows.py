"""Which runs make a row, and what a row comes to."""

from dataclasses import replace
from statistics import mean, stdev

import pytest
from scipy.stats import ttest_rel

from sparseift.report.rows import Row, sections
from sparseift.runs.read import read_run

from .conftest import DENSE, STATIC, WIDE
from .folders import config_of, results_of, write_run


def one_section(*folders) -> list[Row]:
    (section,) = sections([read_run(folder) for folder in folders])
    return section.rows


def test_a_row_is_the_mean_of_its_seeds(runs) -> None:
    (section,) = sections(runs)
    assert (section.dataset, section.model) == ("digits", "resnet18_cifar")
    assert [(row.member, row.sparsifier) for row in section.rows] == [
        ("dense", "none"),
        ("sparse_wide", "rigl"),
        ("sparse_wide", "static"),
    ]
    for row, accuracies in zip(section.rows, (DENSE, WIDE, STATIC), strict=True):
        assert row.scores == pytest.approx({seed: 100 * value for seed, value in accuracies.items()})
        assert row.mean == pytest.approx(100 * mean(accuracies.values()))
        assert row.std == pytest.approx(100 * stdev(accuracies.values()))
        assert row.variant == ""


def test_difference_to_dense_is_paired(runs) -> None:
    (section,) = sections(runs)
    dense, wide, static = section.rows
    assert dense.to_dense is None
    expected = ttest_rel([100 * v for v in WIDE.values()], [100 * v for v in DENSE.values()]).confidence_interval()
    assert wide.to_dense.interval == pytest.approx((expected.low, expected.high))
    assert wide.to_dense.significant and not static.to_dense.significant


def test_difference_to_masks_that_stay(runs) -> None:
    (section,) = sections(runs)
    dense, wide, static = section.rows
    assert dense.to_static is None and static.to_static is None
    expected = ttest_rel([100 * v for v in WIDE.values()], [100 * v for v in STATIC.values()]).confidence_interval()
    assert wide.to_static.interval == pytest.approx((expected.low, expected.high))


def test_masks_that_stay_in_another_network_are_not_compared(tmp_path) -> None:
    static = {"member": "sparse_wide", "sparsifier": "static"}
    others = [
        write_run(tmp_path / "level", sparsity=0.5, **static),
        write_run(tmp_path / "rounding", sparsity=0.75, config={"member": {"rounding": "down"}}, **static),
        write_run(tmp_path / "recipe", sparsity=0.75, config={"recipe": {"epochs": 9}}, **static),
        write_run(tmp_path / "member", "sparse_doped", sparsity=0.75, sparsifier="static"),
    ]
    moved = write_run(tmp_path / "moved", "sparse_wide", sparsity=0.75, sparsifier="rigl")
    rows = one_section(*others, moved)
    assert [row.to_static for row in rows] == [None] * 5
    same = write_run(tmp_path / "same", sparsity=0.75, **static)
    rows = one_section(*others, moved, same)
    assert [row.sparsifier for row in rows if row.to_static] == ["rigl"]


def test_runs_of_one_seed_count_once(tmp_path) -> None:
    (row,) = one_section(
        write_run(tmp_path / "a", accuracy=0.9),
        write_run(tmp_path / "b", accuracy=0.92),
        write_run(tmp_path / "c", accuracy=0.95, seed=1),
    )
    assert row.scores == pytest.approx({0: 91, 1: 95}) and len(row.runs) == 3
    assert row.std == pytest.approx(stdev([91, 95]))


def test_what_is_not_finished_is_in_no_row(tmp_path) -> None:
    done = read_run(write_run(tmp_path / "a"))
    half = read_run(write_run(tmp_path / "b", seed=1, finished=False))
    (section,) = sections([done, half])
    assert [row.runs for row in section.rows] == [[done]]
    assert sections([half]) == []


def test_other_data_sets_and_networks_are_other_sections(tmp_path) -> None:
    runs = [
        read_run(write_run(tmp_path / "a")),
        read_run(write_run(tmp_path / "b", change={"dataset": "cifar10"})),
        read_run(write_run(tmp_path / "c", change={"model": "resnet50"})),
    ]
    assert [(s.dataset, s.model) for s in sections(runs)] == [
        ("cifar10", "resnet18_cifar"),
        ("digits", "resnet18_cifar"),
        ("digits", "resnet50"),
    ]


@pytest.mark.parametrize(
    ("node", "changed", "named"),
    [
        ("recipe", {"epochs": 4, "optimizer": {"lr": 0.2}}, "recipe.optimizer.lr=0.2"),
        ("model", {"_target_": "sparseift.models.resnet18_cifar", "base_width": 11}, "model.base_width=11"),
        ("dataset", {"batch_size": 32, "seed": "${seed}", "num_workers": 0}, "dataset.batch_size=32"),
        ("callbacks", {"ema": {"decay": 0.99}}, "callbacks.ema.decay=0.99"),
    ],
)
def test_other_settings_are_another_row_and_not_compared(tmp_path, node, changed, named) -> None:
    dense = [write_run(tmp_path / f"dense{seed}", "dense", 0.9, seed) for seed in (0, 1)]
    wide = {"member": "sparse_wide", "sparsity": 0.75, "sparsifier": "rigl"}
    usual = [write_run(tmp_path / f"usual{seed}", seed=seed, **wide) for seed in (0, 1)]
    other = [write_run(tmp_path / f"other{seed}", seed=seed, config={node: changed}, **wide) for seed in (0, 1)]
    rows = one_section(*dense, *usual, *other)
    assert [row.variant for row in rows] == ["", "", named]
    assert rows[1].dense is rows[0] and rows[2].dense is None and rows[2].to_dense is None


@pytest.mark.parametrize("name", ["histograms", "learning_rate", "mask_pictures", "spectral", "topology"])
def test_callbacks_that_only_look_do_not_matter(tmp_path, name) -> None:
    looking = {"callbacks": {name: {"_target_": "sparseift.training.callbacks.Any", "every_n_steps": 5}}}
    dense = write_run(tmp_path / "dense")
    wide = write_run(tmp_path / "wide", "sparse_wide", 0.95, sparsity=0.75, sparsifier="rigl", config=looking)
    rows = one_section(dense, wide)
    assert rows[1].dense is rows[0] and [row.variant for row in rows] == ["", ""]


def test_runs_of_versions_that_keep_their_classes_elsewhere_are_one_row(tmp_path) -> None:
    for seed, module in enumerate(("sparseift.training.callbacks", "sparseift.training.callbacks")):
        config = {"callbacks": {"ema": {"_target_": f"{module}.EMA", "decay": 0.99}}}
        write_run(tmp_path / f"{seed}", seed=seed, config=config)
    (row,) = one_section(*sorted(tmp_path.iterdir()))
    assert sorted(row.scores) == [0, 1] and row.variant == ""


def test_what_differs_between_sparsities_is_told(tmp_path) -> None:
    for level, interval in ((0.5, 50), (0.75, 50), (0.9, 10)):
        config = {"sparsifier": {"_target_": "rigl", "update_interval": interval}}
        write_run(tmp_path / f"{level}", "sparse_wide", sparsity=level, sparsifier="rigl", config=config)
    rows = one_section(*sorted(tmp_path.iterdir()))
    assert [row.variant for row in rows] == ["", "", "sparsifier.update_interval=10"]


def test_settings_of_a_method_do_not_hinder_the_comparison(tmp_path) -> None:
    dense = write_run(tmp_path / "dense")
    wide = {"member": "sparse_wide", "sparsity": 0.75, "sparsifier": "rigl"}
    runs = [
        write_run(tmp_path / str(share), config={"sparsifier": {"_target_": "rigl", "drop_fraction": share}}, **wide)
        for share in (0.3, 0.5)
    ]
    rows = one_section(dense, *runs)
    assert [row.variant for row in rows] == ["", "sparsifier.drop_fraction=0.3", "sparsifier.drop_fraction=0.5"]
    assert all(row.dense is rows[0] for row in rows[1:])


def test_dense_runs_of_a_sweep_over_sparsities_are_one_row(tmp_path) -> None:
    """`member=dense,sparse_wide sparsity=0.5,0.9` trains the same dense network twice."""
    twins = [
        write_run(tmp_path / str(level), config={"sparsity": {"level": level, "include": []}}) for level in (0.5, 0.9)
    ]
    (row,) = one_section(*twins)
    assert len(row.runs) == 2 and len(row.scores) == 1


def test_where_and_how_fast_a_run_was_made_does_not_matter(tmp_path) -> None:
    config = config_of(results_of("dense", 0.9, 1, 0.0, "none"))
    config["trainer"]["accelerator"] = "gpu"
    config["dataset"] |= {"num_workers": 8, "root": "/elsewhere"}
    config["checkpoint"]["every_n_steps"] = 7
    rows = one_section(write_run(tmp_path / "a"), write_run(tmp_path / "b", seed=1, config=config))
    assert len(rows) == 1 and set(rows[0].scores) == {0, 1}


def test_runs_without_config_are_compared_by_length_and_budget(tmp_path) -> None:
    folders = [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", "sparse_wide", 0.95, sparsity=0.5, sparsifier="set"),
        write_run(tmp_path / "c", "sparse_wide", 0.95, sparsity=0.5, sparsifier="set", change={"epochs": 9}),
    ]
    (section,) = sections([replace(read_run(folder), config={}) for folder in folders])
    assert [(row.dense is not None, row.variant) for row in section.rows] == [
        (False, ""),
        (True, ""),
        (False, "recipe.epochs=9"),
    ]


FLOPS = results_of("dense", 0.9, 0, 0.0, "none")["flops"]


def test_runs_without_config_among_others_are_told_apart_and_hide_nothing(tmp_path) -> None:
    other = {"recipe": {"epochs": 4, "optimizer": {"lr": 0.2}}}
    runs = [read_run(write_run(tmp_path / member, member)) for member in ("dense", "sparse_wide", "sparse_doped")]
    runs.append(read_run(write_run(tmp_path / "odd", config=other)))
    bare = [replace(run, config={}) for run in runs]
    (section,) = sections([*runs, *bare[:1]])
    assert [row.variant for row in section.rows if row.is_dense] == ["", "recipe.optimizer.lr=0.2", "without config"]
    (section,) = sections([runs[0], *bare[1:]])
    assert [row.variant for row in section.rows] == ["", "without config", "without config", "without config"]


PAPER = {"dataset": "cifar100", "model": "resnet18_cifar", "epochs": 200, "flops": FLOPS | {"budget": 1_110_937_600}}
MOBILE = PAPER | {"model": "mobilenet_v2_cifar", "flops": FLOPS | {"budget": 129_894_528}}
SPARSE = {"member": "sparse_wide", "sparsity": 0.9, "sparsifier": "rigl"}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"change": PAPER}, (77.0, None)),
        ({**SPARSE, "change": PAPER}, (80.1, pytest.approx(3.1))),
        ({**SPARSE, "change": MOBILE, "sparsity": 0.75}, (73.7, pytest.approx(1.3))),
        ({**SPARSE, "change": PAPER, "sparsifier": "static"}, None),
        ({**SPARSE, "change": PAPER, "sparsity": 0.5}, None),
        ({**SPARSE, "change": PAPER | {"distribution": "erk"}}, None),
        ({"change": PAPER | {"flops": FLOPS | {"budget": 17_000_000}}}, None),
        ({"change": PAPER | {"epochs": 20}}, None),
        ({"change": PAPER, "overrides": ("model.zero_init_residual=false",)}, None),
        ({"change": PAPER, "overrides": ("model.name=resnet18_cifar",)}, (77.0, None)),
        ({}, None),
    ],
)
def test_the_papers_figure(tmp_path, run, expected) -> None:
    """The paper: ResNet-18 on CIFAR-100, 77.0 dense and 80.1 at 0.9 with RigL, both after 200 epochs."""
    (row,) = one_section(write_run(tmp_path / "a", **run))
    found = row.published and (row.published.value, row.published.gain)
    assert found == expected


def test_an_empty_node_of_a_config_does_not_join_rows(tmp_path) -> None:
    members = ("sparse_wide", "sparse_parallel")
    folders = [
        write_run(tmp_path / member, member, sparsity=0.75, sparsifier="rigl", config={"member": {}})
        for member in members
    ]
    assert {row.member for row in one_section(*folders)} == set(members)
