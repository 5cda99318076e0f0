"""The built wheel, unpacked, works in an empty folder as the checkout does."""

import configparser
import json
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import sparseift
from sparseift.common.extras import SUITE

from .programs import environment, files, once, quick, results

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(shared) -> Path:
    """The wheel's contents. Built without an environment of its own where the build backend is installed."""

    def make(folder: Path) -> None:
        isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation, "-w", str(folder), "."]
        built = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
        if "hatchling" in built.stderr and not isolation:
            pytest.skip("hatchling is neither installed nor to be had")
        assert built.returncode == 0, built.stderr
        [wheel] = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()

    return once(shared / "wheel", make)


def python(site: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    env = environment(PYTHONPATH=str(site))
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def test_contents(site) -> None:
    shipped = files(site)
    for folder in ("sparseift", "conf"):
        here = {name for name in files(CHECKOUT / folder) if name.endswith((".py", ".yaml"))}
        there = {name.removeprefix("sparseift/") for name in shipped if name.startswith("sparseift/")}
        assert {("conf/" if folder == "conf" else "") + name for name in here} <= there
    top = {name.partition("/")[0] for name in shipped}
    assert {name for name in top if not name.endswith(".dist-info")} == {"sparseift"}
    assert any(name.endswith("licenses/LICENSE") for name in shipped)


def test_the_library_requires_torch_and_numpy_alone(site) -> None:
    """And the extras of the experiment suite, of its launchers and of the tests all that its programs import."""
    [distribution] = distributions(path=[str(site)])
    required: dict[str, set[str]] = {extra: set() for extra in ("", *distribution.metadata.get_all("Provides-Extra"))}
    for requirement in map(Requirement, distribution.requires):
        for extra, names in required.items():
            if not requirement.marker or requirement.marker.evaluate({"extra": extra}):
                names.add(requirement.name)
    assert required[""] == {"numpy", "torch"}
    assert set(SUITE.values()) < required["suite"]
    for extra in required.keys() - {"", "dev", "sparse", "suite"}:
        assert required["suite"] < required[extra], extra
    assert distribution.version == sparseift.__version__


def test_the_version_is_written_in_one_place() -> None:
    """Apart from the citation and the heading of the changes, which follow it."""
    version = sparseift.__version__
    assert f"\nversion: {version}\n" in (CHECKOUT / "CITATION.cff").read_text()
    assert f"\n## {version}, " in (CHECKOUT / "CHANGELOG.md").read_text()
    assert version not in (CHECKOUT / "pyproject.toml").read_text()


def test_console_scripts(site) -> None:
    [entries] = site.glob("*.dist-info/entry_points.txt")
    parser = configparser.ConfigParser()
    parser.read(entries)
    assert dict(parser["console_scripts"]) == {"sparseift": "sparseift.__main__:main"}


def test_profile_in_an_empty_folder(site, tmp_path) -> None:
    """And that it is the wheel's package and configs that run."""
    script = (
        "from sparseift import profile; from sparseift.app.overrides import config_folder; "
        "print(config_folder()); profile.main()"
    )
    done = python(site, tmp_path, "-c", script, "model.base_width=8", "format=json")
    assert done.returncode == 0, done.stderr[-500:]
    conf, _, printed = done.stdout.partition("\n")
    assert conf == str(site / "sparseift/conf")
    plan = json.loads(printed)
    assert abs(plan["ratio"] - 1) < 1e-3 and plan["layers"][0]["name"] == "conv1"
    assert files(tmp_path) == set()


def test_train_in_an_empty_folder(site, tmp_path) -> None:
    done = python(site, tmp_path, "-m", "sparseift.train", *quick("sparsity=0.9"))
    assert done.returncode == 0, done.stderr[-500:]
    assert "Traceback" not in done.stderr
    [folder] = (tmp_path / "runs").iterdir()
    assert results(folder)["sparsity"] == 0.9
