"""report.html as a browser sees it: one file, in order, accessible, with links that lead somewhere."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from sparseift.report.program import report

from .conftest import write_sweep
from .folders import write_run

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Tags with their attributes, in order; complains where one is not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag: str) -> list[str]:
        return [data for name, data in self.texts if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a report has been written. Tests only read it."""
    base = tmp_path_factory.mktemp("page")
    sweep = write_sweep(base / "sweep")
    half = write_run(sweep / "<b>half & half</b>", "sparse_doped", seed=7, finished=False, epochs=2)
    (half / "error.txt").write_text("ValueError: a < b & c\n")
    write_run(sweep / "100% #1?", "dense", 0.5, change={"dataset": "cifar10"})
    report([sweep], base / "out")
    return base / "out"


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page((folder / "report.html").read_text())


def test_needs_nothing_else(page, folder) -> None:
    for tag in ("link", "img", "iframe", "object", "image"):
        assert not page.all(tag)
    assert all("src" not in attributes for attributes in page.all("script"))
    text = (folder / "report.html").read_text()
    used = [address for address in re.findall(r"(?:https?:)?//[\w.]+[^\s\"'<)]*", text)]
    assert {address for address in used if "www.w3.org" not in address} == set()  # names of XML, never fetched
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_links_lead_to_what_exists(page, folder) -> None:
    links = [attributes["href"] for attributes in page.all("a")]
    assert any(link.endswith(".hydra/config.yaml") for link in links)
    for link in links:
        assert not {*"#?"} & {*link} and (folder / unquote(link)).exists(), link


def test_every_command_is_there(page) -> None:
    commands = page.text("code")
    assert "python -m sparseift.train member=sparse_wide dataset=digits seed=2 sparsity.level=0.75 sparsifier=rigl" in (
        commands
    )
    assert sum("resume=auto" in command for command in commands) == 1
    assert len(commands) == 9 + 1 + 1


def test_filters(page) -> None:
    boxes = [attributes["value"] for attributes in page.all("input")]
    assert boxes == ["cifar10", "digits", "dense", "sparse_wide", "none", "rigl", "static"]
    rows = [attributes for attributes in page.all("tr") if "data-number" in attributes]
    assert [(row["data-member"], row["data-sparsifier"]) for row in rows] == [
        ("dense", "none"),
        ("dense", "none"),
        ("sparse_wide", "rigl"),
        ("sparse_wide", "static"),
    ]
    assert [s["data-dataset"] for s in page.all("section") if "data-dataset" in s] == ["cifar10", "digits"]


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the program chromium")
def test_filters_in_a_browser(folder) -> None:
    """After two clicks the rows of one data set and one member are left, in the table and in the figures."""
    clicks = """<script>
for (const value of ["cifar10", "dense"]) document.querySelector(`input[value="${value}"]`).click();
</script>"""
    page = folder / "clicked.html"
    page.write_text((folder / "report.html").read_text() + clicks)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    run = subprocess.run(["chromium", *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    clicked = Page(run.stdout)
    rows = [attributes for attributes in clicked.all("tr") if "data-number" in attributes]
    assert [(row["data-member"], "hidden" in row) for row in rows] == [
        ("dense", True),
        ("dense", True),
        ("sparse_wide", False),
        ("sparse_wide", False),
    ]
    assert ["hidden" in s for s in clicked.all("section") if "data-dataset" in s] == [True, False]
    assert "2 of 4 rows" in clicked.text("p")
    second = run.stdout[run.stdout.index("resnet18_cifar on digits") :]
    parts = re.findall(r'<g data-row="(\d)"([^>]*)>', second)
    assert {number for number, _ in parts} == {"0", "1", "2"}
    assert all(("display: none" in style) == (number == "0") for number, style in parts)
    keys = re.findall(r'<g data-key="(\d)"([^>]*)>', second)
    assert {number for number, _ in keys} == {"0", "1", "2"}
    assert all(("opacity: 0.25" in style) == (number == "0") for number, style in keys)


def test_accessible(page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    drawings = page.all("svg")
    assert drawings and all(svg["role"] == "img" and len(svg["aria-label"]) > 40 for svg in drawings)
    assert len(page.all("figcaption")) == len(drawings)
    ids = [attributes["id"] for tag, attributes in page.tags if "id" in attributes and tag in ("h2", "section")]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert attributes.get("aria-labelledby") in (None, *ids)


def test_light_and_dark(folder) -> None:
    text = (folder / "report.html").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[:2]
    names = [set(re.findall(r"(--[\w]+):", theme)) for theme in (light, dark)]
    assert names[0] == names[1] and "prefers-color-scheme: dark" in text
    used = set(re.findall(r"var\((--\w+)\)", text))
    assert used == names[0]


def test_names_from_outside_are_text(page, folder) -> None:
    assert not page.all("b")
    assert any("<b>half & half</b>" in text for text in page.text("a"))
    assert any("ValueError: a < b & c" in text for text in page.text("td"))


def test_settings_that_all_rows_share_are_stated_once(page, folder) -> None:
    """Above the table; a note on a figure that nobody asked for is not on the page."""
    assert any(text.startswith("All rows: recipe.epochs=") for text in page.text("p"))
    assert "Figure omitted" not in (folder / "report.html").read_text()


def test_markdown(folder) -> None:
    text = (folder / "report.md").read_text()
    for image in re.findall(r"!\[[^\]]{20,}\]\((.*?)\)", text):
        assert (folder / image).exists()
    assert text.count("```") == 4 and text.count("# ") >= 5
    assert "11 run folders: 10 finished, 1 failed" in text
    commands = re.findall(r"^python -m sparseift\.train .*$", text, re.MULTILINE)
    assert len(commands) == 10


def test_nothing_finished(tmp_path) -> None:
    write_run(tmp_path / "runs/a", finished=False)
    report([tmp_path / "runs"], tmp_path / "out")
    page = Page((tmp_path / "out/report.html").read_text())
    assert not page.all("form") and "unfinished" in page.text("td")
