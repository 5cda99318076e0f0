"""Which package may import which, read from the source; and what importing the package really loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sparseift"
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
MAX_LINES = 400

METHOD = "graph surgery members models sparsity masks kernels backends sparsifiers"
ROOMS = {  # what each package may import of this one, besides itself, errors and common
    "__init__": f"api loading running runs {METHOD}",
    "errors": "",
    "common": "",
    "graph": "",
    "surgery": "graph",
    "members": "graph surgery",
    "models": "graph surgery",
    "sparsity": "graph",
    "masks": "sparsity",
    "kernels": "",
    "backends": "kernels masks",
    "sparsifiers": "graph sparsity masks",
    "runs": "",
    "data": "",
    "tasks": "graph runs",
    "training": f"{METHOD} data tasks runs",
    "api": "graph surgery members sparsity",
    "loading": "api masks sparsity tasks training runs",
    "running": "app runs",
    "report": "runs",
    "app": f"{METHOD} data tasks training runs api loading",
    "__main__": "",
    "train": "app",
    "profile": "app",
    "evaluate": "app runs",
    "predict": "app runs",
    "compare": "report",
    "export": "app training",
}
TORCH = {"torch"}
LIGHTNING = {"pytorch_lightning", "torchmetrics", "numpy"}
LIBRARIES = {  # what each package may import of others; those of METHOD and api only torch
    **{
        room: set()
        for room in [
            "__init__",
            "__main__",
            "errors",
            "running",
            "train",
            "evaluate",
            "predict",
            "profile",
            "compare",
            "export",
        ]
    },
    **{room: TORCH for room in (*METHOD.split(), "api", "loading", "tasks")},
    "models": TORCH | {"torchvision", "timm", "transformers"},
    "surgery": TORCH | {"transformers"},  # for networks of it, in pretrained.py
    "common": TORCH | {"rich", "filelock"},
    "runs": {"rich", "yaml"},
    "report": {"rich", "matplotlib", "jinja2", "markupsafe", "scipy"},
    "data": TORCH | LIGHTNING | {"torchvision", "PIL", "scipy", "sklearn", "tokenizers", "zstandard"},
    "training": TORCH | LIGHTNING | {"rich", "safetensors", "onnxscript"},
    "app": TORCH | LIGHTNING | {"hydra", "omegaconf", "joblib", "submitit", "rich", "transformers"},
}
EXCEPTIONS: set[tuple[str, str]] = set()  # (file, import)


def imports(file: str) -> set[str]:
    """Everything a file imports, at any depth, as absolute dotted names; `from . import x` counts as the module x."""
    package = ("sparseift", *Path(file).parent.parts)
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1])
            found |= {f"{base}.{node.module}"} if node.module else {f"{base}.{alias.name}" for alias in node.names}
    return found


def room(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES)
def test_every_package_imports_what_lies_below_it(file: str) -> None:
    own = room(file)
    inside = {name.split(".")[1] for name in imports(file) if name.startswith("sparseift.")}
    assert (
        inside - {own, "errors", "common", *ROOMS[own].split()} - {one for f, one in EXCEPTIONS if f == file} == set()
    )
    outside = {name.partition(".")[0] for name in imports(file)} - set(sys.stdlib_module_names) - {"sparseift"}
    assert outside <= LIBRARIES[own]


def test_few_exceptions_and_no_unknown_room() -> None:
    assert len(EXCEPTIONS) <= 3
    assert {room(file) for file in FILES} == set(ROOMS)


@pytest.mark.parametrize("file", FILES)
def test_every_package_states_its_purpose(file: str) -> None:
    if file.endswith("__init__.py"):
        assert "Imports" in ast.get_docstring(ast.parse((PACKAGE / file).read_text())) or file == "__init__.py"


@pytest.mark.parametrize("file", FILES)
def test_no_file_is_long(file: str) -> None:
    assert len((PACKAGE / file).read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from sparseift import *", "pytorch_lightning lightning hydra omegaconf torchvision sklearn matplotlib"),
        ("from sparseift import load; load", "pytorch_lightning lightning hydra omegaconf sklearn matplotlib"),
        ("import sparseift.report.__main__", "pytorch_lightning lightning torch torchvision sklearn"),
        ("import sparseift.train, sparseift.profile", "pytorch_lightning lightning torch torchvision matplotlib"),
        ("import sparseift.compare", "pytorch_lightning lightning torch torchvision sklearn matplotlib"),
    ],
)
def test_nothing_is_loaded_in_vain(statement: str, unwanted: str) -> None:
    code = f"{statement}; import sys; print(sorted(set({unwanted!r}.split()) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]", run.stdout


def test_every_public_name_is_found_where_it_is_said_to_be() -> None:
    code = """
import sparseift
from sparseift import *
import sparseift.api
assert set(sparseift.__all__) == set(sparseift.HOMES) and sparseift.transform is transform and callable(transform)
for name in sparseift.__all__:
    assert getattr(sparseift, name) is globals()[name]
"""
    subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=True)
