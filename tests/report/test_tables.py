"""Every form of the table is read back by other means than those that wrote it.

By hand, with the t quantile 4.3027 of two degrees of freedom. Wide to dense: differences 3, 2, 3.5, mean 2.8333,
deviation 0.7638, so -+ 1.8973. Static to dense: -1, 1, 1.5, mean 0.5, deviation 1.3229, so -+ 3.2862. Wide to static:
4, 1, 2, mean 2.3333, deviation 1.5275, so -+ 3.7946.
"""

import csv
import io
import re
from dataclasses import replace
from statistics import mean, stdev

import pytest
from rich.console import Console

from sparseift.report import tables
from sparseift.report.rows import sections
from sparseift.runs.read import find_runs

from .conftest import DENSE, STATIC, WIDE
from .folders import results_of, write_run


@pytest.fixture
def section(runs):
    return sections(runs)[0]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_markdown(section) -> None:
    head, rule, *lines = tables.markdown(section).splitlines()
    assert {len(cells(line)) for line in (head, rule, *lines)} == {len(cells(head))}
    assert set(cells(rule)) == {"---", "---:"}
    found = [dict(zip(cells(head), cells(line), strict=True)) for line in lines]
    assert [row["top-1"] for row in found] == ["91.00 ± 1.00", "93.83 ± 0.76", "91.50 ± 2.18"]
    assert [row["vs. dense"] for row in found] == [
        "",
        "**+2.83 [+0.94, +4.73], 3 pairs**",
        "+0.50 [-2.79, +3.79], 3 pairs",
    ]
    assert [row["sparsity"] for row in found] == ["-", "0.75, uniform", "0.75, uniform"]
    assert [row["vs. static"] for row in found] == ["", "+2.33 [-1.46, +6.13], 3 pairs", ""]
    assert "settings" not in head and "paper" not in head


def test_bold_is_what_the_data_tells_from_noise_and_nothing_else(section) -> None:
    for text, start, end in ((tables.markdown(section), r"\*\*", r"\*\*"), (tables.latex(section), r"\\textbf{", "}")):
        bold = re.findall(f"{start}(.*?){end}", text)
        assert [mark.replace("$-$", "-") for mark in bold] == ["+2.83 [+0.94, +4.73], 3 pairs"]


def test_a_single_seed_has_no_interval_and_no_bold(runs) -> None:
    (section,) = sections([run for run in runs if run.results["seed"] == 0])
    text = tables.markdown(section)
    assert "**" not in text and "±" not in text and "[" not in text and "+3.00" in text and "1 pair" in text


def test_several_runs_of_one_seed_are_told_of(runs) -> None:
    (section,) = sections([*runs, replace(runs[0])])
    assert tables.markdown(section).splitlines()[2].count("| 3 (4 runs) |") == 1


def test_csv_has_the_numbers_themselves(section) -> None:
    rows = list(csv.DictReader(io.StringIO(tables.csv_text([section]))))
    assert {(row["task"], row["metric"], row["unit"]) for row in rows} == {("classification", "acc1", "%")}
    assert len(rows) == 3 and all(None not in row and None not in row.values() for row in rows)
    for row, values in zip(rows, (DENSE, WIDE, STATIC), strict=True):
        assert float(row["score_mean"]) == pytest.approx(100 * mean(values.values()))
        assert float(row["score_std"]) == pytest.approx(100 * stdev(values.values()))
        assert row["seeds"] == "0 1 2"
        assert int(row["params_active"]) == 250 and float(row["train_flops"]) == 61e6
    assert rows[0]["to_dense"] == "" and float(rows[1]["to_dense_low"]) == pytest.approx(0.936, abs=1e-3)


def test_csv_of_nothing_is_empty() -> None:
    assert tables.csv_text([]) == ""


def test_latex(section) -> None:
    section.rows[1].variant = "model.note=a_b & 50% {x} #1 $2 ~ ^ \\"
    text = tables.latex(section)
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    columns = re.search(r"\\begin{tabular}{([lr]+)}", text)[1]
    assert len(lines) == 4 and all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in lines)
    assert r"sparse\_wide" in body and r"91.00 $\pm$ 1.00" in body
    assert r"a\_b \& 50\% \{x\} \#1 \$2 \textasciitilde{} \textasciicircum{} \textbackslash{}" in body
    assert "[$-$2.79, +3.79]" in body
    assert re.search(r"\\resizebox{.*}{!}{\\begin{tabular}", text)
    assert not re.search(r"(?<!\\)[_#%~^]", text.replace("\\\\", ""))
    unescaped = re.sub(r"\\[{}]", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    assert re.findall(r"\\begin{(\w+)}", text) == re.findall(r"\\end{(\w+)}", text)[::-1]


def test_a_bar_in_a_cell_does_not_break_markdown(section) -> None:
    section.rows[0].variant = "a|b"
    head, _, line, *_ = tables.markdown(section).splitlines()
    assert len(re.split(r"(?<!\\)\|", line)) == len(head.split("|"))


def shown(section, width: int, terminal: bool) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=terminal, color_system=None)
    console.print(tables.terminal(section, console))
    return console.file.getvalue()


def test_a_narrow_terminal_shows_what_fits_and_a_file_everything(section) -> None:
    narrow, wide = shown(section, 100, terminal=True), shown(section, 200, terminal=False)
    assert "[+0.94, +4.73]" in narrow and "active" not in narrow and "…" not in narrow
    assert "[+0.94, +4.73]" in wide and "active" in wide and "…" not in wide
    assert max(len(line.rstrip()) for line in narrow.splitlines()) <= 100
    console = Console(width=100, force_terminal=True)
    hidden = tables.left_out(section, tables.terminal(section, console))
    assert hidden and hidden[-1] == "active" and not any(re.search(rf"\b{title}\b", narrow) for title in hidden)


def test_the_papers_column_comes_with_the_papers_figures(runs) -> None:
    flops = runs[0].results["flops"] | {"budget": 1_110_937_600}
    paper = {"dataset": "cifar100", "epochs": 200, "flops": flops}
    (section,) = sections([replace(run, results=run.results | paper) for run in runs])
    head, _, *lines = tables.markdown(section).splitlines()
    assert dict(zip(cells(head), cells(lines[0]), strict=True))["paper"] == "77.0"


def markdown_rows(tmp_path) -> list[dict[str, str]]:
    (section,) = sections(find_runs([tmp_path]))
    head, _, *lines = tables.markdown(section).splitlines()
    return [dict(zip(cells(head), cells(line), strict=True)) for line in lines]


def test_partial_runs_are_marked_and_averaged_with_no_others(tmp_path) -> None:
    """The dense network is trained whole, so partial runs are not compared with it."""
    write_run(tmp_path / "dense", accuracy=0.8)
    for seed, partial in enumerate((None, "trainer.max_time=00:00:01:00", None)):
        change = {"partial": partial, "mask_updates": 7}
        run = tmp_path / f"wide{seed}"
        write_run(run, "sparse_wide", 0.9 - seed / 10, seed, sparsity=0.75, sparsifier="rigl", change=change)
    _, whole, partial = markdown_rows(tmp_path)
    assert (whole["partial"], whole["seeds"], whole["top-1"]) == ("", "2", "80.00 ± 14.14")
    assert (partial["partial"], partial["seeds"]) == ("trainer.max_time=00:00:01:00", "1")
    assert whole["vs. dense"] and not partial["vs. dense"] and "mask updates" not in whole


def test_mask_updates_where_they_differ(tmp_path) -> None:
    for name, counts in (("static", (0, 0)), ("rigl", (7, 9))):
        for seed, count in enumerate(counts):
            change = {"mask_updates": count}
            run = tmp_path / f"{name}{seed}"
            write_run(run, "sparse_wide", 0.9, seed, sparsity=0.75, sparsifier=name, change=change)
    assert {row["sparsifier"]: row["mask updates"] for row in markdown_rows(tmp_path)} == {
        "static": "0",
        "rigl": "7 to 9",
    }


def test_the_budget_is_missed_by_runs_that_stopped_before_the_end_of_pruning(tmp_path) -> None:
    for seed, ratio in enumerate((1.0, 1.25)):
        change = {"flops": {**results_of("sparse_wide", 0.9, seed, 0.75, "gmp")["flops"], "ratio": ratio}}
        write_run(tmp_path / f"{seed}", "sparse_wide", 0.9, seed, sparsity=0.75, sparsifier="gmp", change=change)
    assert [row["relative to budget"] for row in markdown_rows(tmp_path)] == ["1.0000 to 1.2500 (over budget)"]
