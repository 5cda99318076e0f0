"""Runs of a task whose metric is an error in a unit: less is better, and percentages are nowhere."""

import csv
import io

import pytest

from sparseift.report import tables
from sparseift.report.figures import draw
from sparseift.report.program import report
from sparseift.report.rows import sections
from sparseift.runs.metric import Metric
from sparseift.runs.read import find_runs, read_run

from .folders import MAE, config_of, judged_by, results_of, write_run

DENSE = {0: 0.0412, 1: 0.0420, 2: 0.0416}
WIDE = {0: 0.0312, 1: 0.0322, 2: 0.0314}  # better
DOPED = {0: 0.0612, 1: 0.0622, 2: 0.0614}  # worse
SPARSE = {"sparsity": 0.75, "sparsifier": "rigl", "columns": {"masks/replaced": 0.1, "masks/spectral_gap": 2.0}}


@pytest.fixture
def folder(tmp_path):
    for seed in DENSE:
        write_run(tmp_path / f"runs/dense{seed}", "dense", seed=seed, change=judged_by(MAE, DENSE[seed]))
        for member, values in (("sparse_wide", WIDE), ("sparse_doped", DOPED)):
            change = judged_by(MAE, values[seed])
            write_run(tmp_path / f"runs/{member}{seed}", member, seed=seed, change=change, **SPARSE)
    return tmp_path / "runs"


@pytest.fixture
def section(folder):
    (found,) = sections(find_runs([folder]))
    return found


def test_scores_are_in_the_unit(section) -> None:
    dense, doped, wide = section.rows
    assert dense.scores == DENSE and wide.scores == WIDE and section.metric == MAE
    assert wide.to_dense.mean == pytest.approx(-0.01) and wide.to_dense.significant and doped.to_dense.significant


def test_the_table_has_digits_label_and_direction(section) -> None:
    head, _, dense, _doped, wide = tables.markdown(section).splitlines()
    assert "| mean absolute error ↓ |" in head and "%" not in head
    assert "| 0.04160 ± 0.00040 |" in dense
    assert "| **-0.01000 [-0.01" in wide
    assert tables.notes(section)["mean absolute error ↓"] == (
        "Test mean absolute error in m, mean ± standard deviation over seeds. Lower is better."
    )
    (column,) = (column for column in tables.columns(section) if column.title == "vs. dense")
    assert [column.better(row) for row in section.rows] == [False, False, True]
    assert r"mean absolute error $\downarrow$" in tables.latex(section)


def test_the_page_shows_less_as_better(folder, tmp_path) -> None:
    report([folder], tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert 'class="number  better"><strong>-0.01000' in page and 'class="number  worse"><strong>+0.02000' in page
    assert "mean absolute error 0.04120 m," in page and "top-1" not in page


def test_csv_says_what_the_numbers_are(section) -> None:
    rows = list(csv.DictReader(io.StringIO(tables.csv_text([section]))))
    assert {(row["task"], row["metric"], row["unit"], row["higher_is_better"]) for row in rows} == {
        ("regression", "mae", "m", "False")
    }
    assert float(rows[0]["score_mean"]) == pytest.approx(0.0416)


def test_figures_are_labelled_by_the_metric(section) -> None:
    drawn = {one.name.removeprefix("digits_resnet18_cifar_"): one for one in draw(section)}
    assert all(one.figure for one in drawn.values())
    during, after = drawn["score_flops"].figure.axes
    label = "mean absolute error (m, lower is better)"
    assert during.get_ylabel() == after.get_ylabel() == label
    assert drawn["score_flops"].title == "Mean absolute error against training FLOPs"
    values = [value for line in after.lines for value in line.get_ydata()]
    assert sorted(values) == pytest.approx([0.0316, 0.0416, 0.0616])
    low, high = after.get_ylim()
    assert high - low < 0.1, "an axis of errors has no least range"
    (axes,) = drawn["score_sparsity"].figure.axes
    assert axes.get_ylabel() == f"test {label}"


def test_tasks_and_metrics_are_sections_of_their_own(folder, tmp_path) -> None:
    write_run(folder / "classification", accuracy=0.9)
    write_run(folder / "perplexity", change=judged_by(Metric("ppl", "perplexity", higher_is_better=False), 23.4))
    found = sections(find_runs([folder]))
    assert [(one.title, len(one.rows)) for one in found] == [
        ("resnet18_cifar on digits (classification, acc1, %, higher is better)", 1),
        ("resnet18_cifar on digits (regression, mae, m, lower is better)", 3),
        ("resnet18_cifar on digits (regression, ppl, lower is better)", 1),
    ]
    assert "| 23.40 |" in tables.markdown(found[2])
    names = [one.name for section in found for one in draw(section)]
    assert len(set(names)) == len(names)
    report([folder], tmp_path / "out")
    text = (tmp_path / "out/report.md").read_text()
    assert text.count("- mean absolute error ↓: ") == text.count("- vs. dense: ") == 1


def test_compare_says_which_direction_is_better(program, folder, tmp_path) -> None:
    run = program("sparseift.compare", ["runs/dense0", "runs/sparse_wide0"], tmp_path)
    assert (run.code, run.err) == (0, "")
    lines = {line.split("│")[1].strip(): line.split("│")[2:4] for line in run.out.splitlines() if "│" in line}
    assert [cell.strip() for cell in lines["test mean absolute error"]] == ["0.04120 m", "0.03120 m"]
    assert "test mean absolute error, B - A: -0.01000 m (lower is better)" in run.out


def test_compare_of_different_metrics_computes_no_difference(program, folder, tmp_path) -> None:
    write_run(folder / "other", accuracy=0.9, change={"weights_sha256": "2" * 64})
    run = program("sparseift.compare", ["runs/dense0", "runs/other"], tmp_path)
    lines = {line.split("│")[1].strip(): line.split("│")[2:4] for line in run.out.splitlines() if "│" in line}
    assert [cell.strip() for cell in lines["test top-1"]] == ["-", "90.00 %"]
    assert "A is judged by mean absolute error, B by top-1" in run.out


NEW = judged_by(Metric("acc1", "top-1", "%"), 0.92) | {"task": "classification"}
GROUPS = {
    "task": {
        "_target_": "sparseift.tasks.Classification",
        **{key: f"${{dataset.{key}}}" for key in ("num_classes", "channels", "image_size")},
        "label_smoothing": "${recipe.label_smoothing}",
    },
    "pattern": {"_target_": "sparseift.sparsifiers.patterns.Unstructured"},
    "backend": {"_target_": "sparseift.backends.Masked"},
}


def test_runs_of_version_1_and_2_with_equal_settings_are_one_row(tmp_path) -> None:
    for member, choices in (("dense", {}), ("sparse_wide", {"sparsity": 0.75, "sparsifier": "rigl"})):
        write_run(tmp_path / f"{member}_old", member, **choices)
        write_run(tmp_path / f"{member}_new", member, seed=1, change=NEW, config=GROUPS, **choices)
    (section,) = sections(find_runs([tmp_path]))
    assert [(row.member, sorted(row.scores), row.variant) for row in section.rows] == [
        ("dense", [0, 1], ""),
        ("sparse_wide", [0, 1], ""),
    ]
    assert section.rows[1].to_dense.how == "2 pairs"


def test_a_pattern_is_a_method_of_its_own_which_is_compared_with_dense(tmp_path) -> None:
    wide = {"member": "sparse_wide", "sparsity": 0.75, "sparsifier": "rigl"}
    write_run(tmp_path / "dense")
    write_run(tmp_path / "plain", change=NEW, config=GROUPS, **wide)
    pattern = {"pattern": {"_target_": "sparseift.sparsifiers.patterns.NofM", "m": 4}}
    write_run(tmp_path / "new", change=NEW | {"pattern": "n_of_m"}, config=GROUPS | pattern, **wide)
    old = config_of(results_of("sparse_wide", 0.9, 1, 0.75, "rigl"))
    old["sparsifier"] |= pattern
    write_run(tmp_path / "old", seed=1, change={"sparsifier": "rigl_nm"}, config=old, **wide)
    rows = sections([read_run(path) for path in sorted(tmp_path.iterdir())])[0].rows
    assert [(row.pattern, row.variant) for row in rows[1:]] == [("n_of_m", ""), ("unstructured", "")]
    assert sorted(rows[1].scores) == [0, 1] and all(row.dense is rows[0] for row in rows[1:])
    table = tables.markdown(sections([read_run(path) for path in sorted(tmp_path.iterdir())])[0])
    assert "| pattern |" in table and "| n_of_m |" in table and "unstructured" not in table
