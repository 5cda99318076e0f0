"""Configuration of the documentation site; scripts/docs builds it."""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.matching import Matcher

import sparseift

DOCS = Path(__file__).parent
ROOT = DOCS.parent
SOURCE = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/blob/{GITHUB_SHA}"  # of links to files outside of docs/
LINK = re.compile(r"(?<!!)\[(?P<label>[^\]]*)\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
PICTURE = re.compile(
    r'<picture>\s*<source [^>]*dark[^>]*srcset="(?P<dark>[^"]+)">\s*'
    r'<img src="(?P<light>[^"]+)" alt="(?P<alt>[^"]*)">\s*</picture>'
)
IMAGE = "```{{image}} {path}\n:class: only-{mode}\n:alt: {alt}\n```\n"

project = "sparseift"
author = "The sparseift developers"
version = release = sparseift.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build", "evidence/**report/**", "evidence/**runs/**"]
myst_heading_anchors = 3

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"sparseift {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

default_role = "py:obj"  # in docstrings, `name` is a link where the site has this name
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False

excluded = Matcher(exclude_patterns)


def adapt_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Change links to files that are not on the site, and pictures for light and dark, which work on GitHub."""
    path = Path(app.env.doc2path(name))

    def link(found: re.Match) -> str:
        target = (path.parent / found["path"]).resolve()
        on_site = target.is_relative_to(DOCS) and target.is_file() and not excluded(target.relative_to(DOCS).as_posix())
        if on_site or not target.is_relative_to(ROOT) or not target.exists():
            return found[0]
        if "GITHUB_SHA" not in os.environ:
            return f"`{found['path']}`" if found["label"] == found["path"] else found["label"]
        address = f"{SOURCE.format_map(os.environ)}/{target.relative_to(ROOT).as_posix()}"
        return f"[{found['label']}]({address}{found['anchor'] or ''})"

    def picture(found: re.Match) -> str:
        return "".join(IMAGE.format(path=found[mode], mode=mode, alt=found["alt"]) for mode in ("light", "dark"))

    if path.suffix == ".md":
        source[0] = PICTURE.sub(picture, LINK.sub(link, source[0]))


def drop_module_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """The pages introduce the packages; the docstrings of packages are about imports."""
    if what == "module":
        lines.clear()


def setup(app: Sphinx) -> None:
    app.connect("source-read", adapt_page)
    app.connect("autodoc-process-docstring", drop_module_docstring)
