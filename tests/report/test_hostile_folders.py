"""Folders that are damaged or made to do harm are one line each, and what their text does in each output."""

import csv
import re
import sys
import warnings
from pathlib import Path

import pytest

from sparseift.report import escaping
from sparseift.report.differences import compare
from sparseift.report.program import report
from sparseift.runs.read import FAILED, FINISHED, UNFINISHED, UNREADABLE, read_run

from .folders import write_run

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from reliability_parts._hostile import CASES, FORMULA, MARKDOWN, MATH, SCRIPT
from reliability_parts.folders import CONTROL

READ_ALONE = {name: make for kind, cases in CASES.items() for name, make in cases.items() if kind != "large"}
FOUND_IN = ("folders in folders", "huge scores", "tiny scores")  # the runs are below the folder
OBEYED = CASES["text that programs obey"]
SHOWN = (
    *(f"HTML as {place}" for place in ("data set", "setting", "override", "error", "metric")),
    *(f"{what} as member" for what in ("a formula", "Markdown", "mathtext", "an underscore", "escape sequences")),
    *(
        "escape sequences as error",
        "escape sequences as metric",
        "styles of the terminal as metric",
        "Markdown as override",
    ),
)


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind != "large"])
def test_read(tmp_path, kind) -> None:
    """Each is read in some state, with a reason on one short line if it is not finished."""
    for number, (name, make) in enumerate(CASES[kind].items()):
        make(tmp_path / str(number))
        run = read_run(tmp_path / str(number))
        assert run.state in (FINISHED, FAILED, UNFINISHED, UNREADABLE), name
        assert run.state == FINISHED or run.detail, name
        assert len(run.detail) < 1100 and len(run.detail.splitlines()) <= 1, name
    if kind in ("not a regular file", "nested or endless"):
        states = {name: read_run(tmp_path / str(n)).state for n, name in enumerate(CASES[kind])}
        readable = [name for name, state in states.items() if state != UNREADABLE]
        assert all("metrics.csv" in name or "link" in name or name in FOUND_IN for name in readable), readable


def test_report(tmp_path, capsys) -> None:
    """The good run is reported, whatever lies beside it; every other folder is one line."""
    write_run(tmp_path / "runs/good")
    bad = {name: make for kind in ("not a regular file", "nested or endless") for name, make in CASES[kind].items()}
    for number, make in enumerate(bad.values()):
        make(tmp_path / f"runs/{number}")
    report([tmp_path / "runs"], tmp_path / "out")
    out = capsys.readouterr().out
    assert re.search(r"\d+ run folders: \d+ finished", out)
    lines = [line.split(": ")[0].strip() for line in out.splitlines() if line.startswith(f"  {tmp_path}")]
    named = [path for path in lines if Path(path).parent == tmp_path / "runs"]
    assert len(named) == len(set(named)) >= 25


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict[str, str]:
    """A report on runs whose texts mean something to programs: its files, and what it printed."""
    base = tmp_path_factory.mktemp("obeyed")
    write_run(base / "runs/good")
    for number, name in enumerate(SHOWN):
        OBEYED[name](base / f"runs/{number}")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("error")
        printed = base / "printed"
        with printed.open("w") as file:
            patch.setattr(sys, "stdout", file)
            report([base / "runs"], base / "out")
            compare(base / "runs/good", base / "runs/12")
    texts = {path.name: path.read_text() for path in (base / "out").iterdir() if path.is_file()}
    return texts | {"printed": printed.read_text()}


def test_no_control_characters(outputs) -> None:
    for name, text in outputs.items():
        assert not CONTROL.search(text.replace("\r\n", "\n")), name
    assert r"\x1b[31mred" in outputs["printed"] and r"\x1b[31mred" in outputs["report.html"]


def test_no_html(outputs) -> None:
    assert outputs["report.html"].count("<script") == 1 and "<img" not in outputs["report.html"]
    blocks = re.sub(r"^(```+)bash$.*?^\1$", "", outputs["report.md"], flags=re.MULTILINE | re.DOTALL)
    assert "<" not in blocks and not re.search(r"(?<!\\)\]\(javascript:", blocks)
    assert "&lt;script>" in blocks


def test_no_formulas(outputs) -> None:
    cells = [cell for row in csv.reader(outputs["table.csv"].splitlines()) for cell in row]
    assert f"'{FORMULA}" in cells
    assert not [cell for cell in cells if re.match(r"[=+@]|-(?!\d)", cell)]


def test_names_are_whole(outputs) -> None:
    """What is escaped is not lost."""
    for text in (SCRIPT, FORMULA, MATH, "[bold][/x][link=file:///]"):
        assert text in outputs["printed"]


@pytest.mark.parametrize(
    ("escape", "text", "escaped"),
    [
        (escaping.markdown, "a_b *c* `d` _e_ f|g", r"a_b \*c\* \`d\` \_e\_ f\|g"),
        (escaping.markdown, "[0.1, 0.2] <b>&amp;", "[0.1, 0.2] &lt;b>&amp;amp;"),
        (escaping.markdown, "![x](y) [z][0]", r"![x\](y) [z\][0]"),
        (escaping.markdown, MARKDOWN, r"\`\`\`\\n\](javascript:alert(1)) \| a \| ![x\](y) &lt;b>"),
        (escaping.csv, "=1", "'=1"),
        (escaping.csv, " +1", "' +1"),
        (escaping.csv, "\t@x", r"\t@x"),
        (escaping.csv, "a=1", "a=1"),
        (escaping.csv, -0.5, -0.5),
        (escaping.latex, "a_b 50% -1", r"a\_b 50\% $-$1"),
        (escaping.figure, "_x", " _x"),
        (escaping.figure, "x" * 200, "x" * 99 + "…"),
        (escaping.markdown_code, "a\n```\nb", "````bash\na\n```\nb\n````"),
    ],
)
def test_escapes(escape, text, escaped) -> None:
    assert escape(text) == escaped


def test_sections_of_similar_and_long_names_have_files_of_their_own(tmp_path) -> None:
    for number, dataset in enumerate(("a b", "a/b", "a_b", "d" * 300, "d" * 301, "\U0001f600" * 200)):
        write_run(tmp_path / f"runs/{number}", change={"dataset": dataset})
    report([tmp_path / "runs"], tmp_path / "out")
    names = {path.name for path in (tmp_path / "out/figures").glob("*score_flops.svg")}
    assert len(names) == 6 and max(len(name.encode()) for name in names) < 200
