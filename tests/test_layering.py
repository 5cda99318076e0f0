"""Who may import whom, read from the source; and what `import sparseift` really loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sparseift"
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

CORE = {
    "__init__",
    "attention",
    "errors",
    "flops",
    "masks",
    "members",
    "meta",
    "selection",
    "shapes",
    "sparsifiers",
    "sparsity",
    "spectral",
    "topology",
    "trace",
    "transformation",
}
LIGHTNING_HOMES = (
    "module.py",
    "data/",
    "callbacks/",
    "sparsifiers/callback.py",
    "build.py",
)  # build.py makes the Trainer
HYDRA_HOMES = (
    *("train.py", "once.py", "profile.py", "build.py", "cli.py", "resume.py", "folder.py", "sweep.py"),
    *("launchers.py", "shares.py"),
)
MAX_LINES = 400


def is_core(file: str) -> bool:
    return file.split("/")[0].removesuffix(".py") in CORE and file != "sparsifiers/callback.py"


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


def roots(file: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


def test_the_core_is_found() -> None:
    assert {file.split("/")[0].removesuffix(".py") for file in FILES} >= CORE


@pytest.mark.parametrize("file", [file for file in FILES if is_core(file)])
def test_the_core_imports_torch_and_itself_alone(file: str) -> None:
    assert roots(file) - set(sys.stdlib_module_names) <= {"torch", "sparseift"}
    inside = {name.split(".")[1] for name in imports(file) if name.startswith("sparseift.")}
    assert inside <= CORE


@pytest.mark.parametrize("file", FILES)
def test_frameworks_stay_where_they_belong(file: str) -> None:
    if not file.startswith(LIGHTNING_HOMES):
        assert not roots(file) & {"pytorch_lightning", "lightning", "lightning_fabric"}
    if file not in HYDRA_HOMES:
        assert not roots(file) & {"hydra", "omegaconf"}


@pytest.mark.parametrize("file", FILES)
def test_no_file_is_long(file: str) -> None:
    assert len((PACKAGE / file).read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from sparseift import *", "pytorch_lightning lightning hydra omegaconf torchvision sklearn matplotlib"),
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
import sparseift.transformation
assert set(sparseift.__all__) == set(sparseift.HOMES) and sparseift.transform is transform and callable(transform)
for name in sparseift.__all__:
    assert getattr(sparseift, name) is globals()[name]
"""
    subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=True)
