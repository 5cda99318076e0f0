"""The library and the messages of the programs where nothing but torch, numpy and what torch requires is installed."""

import subprocess
import sys
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

import sparseift

from .programs import SOURCE, environment, results

PACKAGES = (
    "graph surgery members models sparsity masks masks.patterns kernels backends sparsifiers sparsifiers.at_init tasks"
)
LIBRARY = f"""
import sys, importlib
import torch, sparseift
from sparseift import *
for name in {PACKAGES!r}.split():
    importlib.import_module(f"sparseift.{{name}}")
from sparseift.sparsifiers import RigL, Update

dense = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(),
    torch.nn.Linear(8 * 16, 10),
)
x = torch.rand(4, 3, 8, 8)
assert sparseift.transform(dense, "sparse_parallel", 0.5, x)(x).shape == (4, 10)
net, plan = sparseift.sparsify(dense, "sparse_wide", 0.75, x)
assert plan.forward <= forward_flops(dense, x[:1])
masks = sparseift.Masks.random(net, plan, seed=0)
masks.apply()
rigl, optimizer = RigL(update_interval=1, begin=0.0, end=0.75, drop_fraction=0.3, anneal="cosine"), torch.optim.SGD(
    net.parameters(), lr=0.1
)
before = masks.sha256()
net(x).square().mean().backward()
rigl.update(masks, [optimizer], Update(1, 10, seed=0))
masks.mask_gradients()
optimizer.step()
masks.check([optimizer], net)
assert masks.sha256() != before
"""
PUBLISHED = """
import sys, torch, sparseift
loaded = sparseift.load(sys.argv[1])
image = torch.arange(64, dtype=torch.uint8).view(1, 8, 8)
with torch.no_grad():
    torch.save(loaded.network(loaded.preprocessing(image)), "outputs.pt")
print(loaded.masks.sha256(), loaded.plan.ratio, *loaded.preprocessing.classes)
try:
    loaded.preprocessing(image[:, :7])
except sparseift.UserError as error:
    print(error)
"""


def closure(*names: str) -> set[str]:
    """The distributions, and those that they require and that are installed."""
    found: set[str] = set()
    missing = list(names)
    while missing:
        name = missing.pop()
        if name not in found and next(distributions(name=name), None):
            found.add(name)
            parsed = map(Requirement, distribution(name).requires or [])
            missing += [one.name for one in parsed if not one.marker or one.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """A folder of packages with torch and numpy alone."""
    folder = tmp_path_factory.mktemp("site")
    for one in map(distribution, closure("torch", "numpy")):
        for name in {file.parts[0] for file in one.files or [] if file.parts[0] != ".."}:
            link, place = folder / name, Path(str(one.locate_file(name)))
            if not link.exists() and place.exists():
                link.symlink_to(place)
    return folder


def python(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Python without its own packages."""
    env = environment(PYTHONPATH=f"{SOURCE}:{site}")
    return subprocess.run([sys.executable, "-S", *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def test_the_library(site, tmp_path) -> None:
    done = python(site, "-c", LIBRARY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    there = python(site, "-c", "import hydra", cwd=tmp_path)
    assert "No module named 'hydra'" in there.stderr


def test_a_published_network(site, program, trained, tmp_path) -> None:
    run = trained()
    outcome = program("sparseift.export", [str(run), "--format", "hub", "--out", "hub"], tmp_path)
    assert outcome.code == 0, outcome
    done = python(site, "-c", PUBLISHED, "hub", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told, refused = done.stdout.splitlines()
    expected = sparseift.load(run)
    recorded = results(run)
    assert told == f"{recorded['masks_sha256']} {recorded['flops']['ratio']} 0 1 2 3 4 5 6 7 8 9"
    assert refused == (
        "to read or resize images, sparseift needs torchvision, which is not installed: pip install 'sparseift[suite]'"
    )
    with torch.no_grad():
        pixels = torch.arange(64, dtype=torch.float32).view(1, 1, 8, 8)
        outputs = expected.network((pixels / 255 - 0.3058) / 0.3759)
    assert torch.allclose(torch.load(tmp_path / "outputs.pt"), outputs, atol=1e-6)


@pytest.mark.parametrize("verb", ["train", "profile", "evaluate", "predict", "report", "compare", "export"])
def test_what_a_program_needs(site, tmp_path, verb: str) -> None:
    (tmp_path / "run").mkdir()
    arguments = {"predict": ["run", "x"], "compare": ["a", "b"], "evaluate": ["run"], "export": ["run"]}
    done = python(site, "-m", "sparseift", verb, *arguments.get(verb, []), cwd=tmp_path)
    needed = f"sparseift {verb} needs hydra-core, which is not installed: pip install 'sparseift[suite]'"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"sparseift: {needed}\n")


def test_what_functions_need(site, trained, tmp_path) -> None:
    code = """
import sys, sparseift
for call in (sparseift.run, lambda: sparseift.load(sys.argv[1])):
    try:
        call()
    except sparseift.UserError as error:
        print(error)
"""
    done = python(site, "-c", code, str(trained()), cwd=tmp_path)
    advice = "which is not installed: pip install 'sparseift[suite]'"
    told = [f"sparseift.run needs hydra-core, {advice}", f"to read a run folder, sparseift needs pyyaml, {advice}"]
    assert done.stdout.splitlines() == told, done.stderr
