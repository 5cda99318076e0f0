"""sparseift.run: the run of the command line, in a process that stays as it was."""

import json
import logging
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import sparseift
from sparseift.app.hydra_versions import VERSION_BASE
from sparseift.common.signals import STOP
from sparseift.errors import Stopped

from .programs import HERE, checkpoint, environment, files, lasting, metrics, quick, results


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """The working directory. Ctrl-C is not ignored, as other tests in this process may have left it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HERE)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    signal.signal(signal.SIGINT, previous)


def state() -> dict[str, object]:
    """What a run must leave as it is."""
    names = ("", "pytorch_lightning", "lightning_fabric", "hydra")
    return {
        "signals": {number: signal.getsignal(number) for number in STOP},
        "logging": {name: (logging.getLogger(name).level, logging.getLogger(name).handlers[:]) for name in names},
        "disabled": {name for name in logging.root.manager.loggerDict if logging.getLogger(name).disabled},
        "warnings": (warnings.filters[:], warnings.formatwarning, warnings.showwarning),
        "environment": dict(os.environ),
        "process": (os.getcwd(), sys.argv[:], sys.stdout, sys.stderr),
        "random": (random.getstate(), torch.get_rng_state().tolist(), [str(part) for part in np.random.get_state()]),
        "torch": (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()),
        "hydra": (GlobalHydra.instance().is_initialized(), HydraConfig.initialized(), hydra.version.getbase()),
    }


def test_the_run_of_the_command_line(trained) -> None:
    reference = trained("sparsity=0.9", "seed=3")
    run = sparseift.run(quick("sparsity=0.9", "seed=3", "hydra.run.dir=run"))
    assert run.folder == Path("run").resolve() and run.state == "finished"
    assert lasting(run.folder) == lasting(reference) and metrics(run.folder) == metrics(reference)
    missing = {name for name in files(reference) - files(run.folder) if "tfevents" not in name}
    assert missing == {"outcome.json"}
    assert {name: value for name, value in results(run.folder).items() if name != "crc32"} == run.results
    assert run.score == 100 * run.results["test"]["acc1"]
    assert run.command == shlex.join(["python", "-m", "sparseift.train", *quick("sparsity.level=0.9", "seed=3")])


def test_the_process_stays_as_it_was(folder) -> None:
    """Also where the caller uses Hydra, and after errors before and during training."""
    (folder / "conf").mkdir()
    (folder / "conf/mine.yaml").write_text("lr: ${twice:3}\n")
    OmegaConf.register_new_resolver("twice", lambda value: 2 * value)
    torch.set_float32_matmul_precision("high")
    try:
        with hydra.initialize_config_dir(str(folder / "conf"), **({"version_base": "1.2"} if VERSION_BASE else {})):
            before = state()
            assert sparseift.run(quick("trainer.deterministic=true")).state == "finished"
            assert state() == before
            for wrong in ("sede=1", "model._target_=os.getcwd", "+callbacks.x={_target_: toy_callbacks.Noise}"):
                with pytest.raises(sparseift.UserError):
                    sparseift.run(quick(wrong))
                assert state() == before
            assert hydra.compose("mine").lr == 6
    finally:
        OmegaConf.clear_resolver("twice")
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["sede=1"], "there is no option 'sede'; did you mean seed or sweep?"),
        (["member=wide"], r"member is 'wide'; expected one of dense, .*, sparse_wide"),
        (["model=3"], r"model is 3; expected one of"),
        (["sparsity=0.5,0.9"], r"sparsity\.level is 0\.5,0\.9; expected one value"),
        (["-m"], "an override is '-m'; expected NAME=VALUE, .* for a sweep, call run for each value"),
        (["hydra.mode=MULTIRUN"], "an override is 'hydra.mode=MULTIRUN'; expected NAME=VALUE"),
        (["sweep.resume=true"], "sweep.resume=true needs the option -m"),
        (["trainer.devices=2"], r"trainer\.devices is 2; expected 1 inside of a Python process"),
        (["sparsity.level=2"], r"sparsity\.level is 2; expected a number in \(0, 1\)"),
    ],
    ids=str,
)
def test_mistakes(folder, overrides: list[str], told: str) -> None:
    with pytest.raises(sparseift.UserError, match=told) as caught:
        sparseift.run(quick(*overrides))
    assert str(caught.value).count("\n") == 0
    assert not list(folder.rglob("runs/*"))


def test_what_is_no_list_of_overrides() -> None:
    with pytest.raises(sparseift.UserError, match="overrides is 'seed=1'; expected a list of strings"):
        sparseift.run("seed=1")
    with pytest.raises(sparseift.UserError, match="config_dir is 'nowhere'; expected a folder"):
        sparseift.run([], config_dir="nowhere")


def test_own_configs(folder) -> None:
    (folder / "own/recipe").mkdir(parents=True)
    (folder / "own/recipe/mine.yaml").write_text("defaults: [cifar]\nepochs: 1\n")
    overrides = [override for override in quick("recipe=mine") if override != "recipe.epochs=1"]
    run = sparseift.run(overrides, config_dir="own")
    assert run.results["epochs"] == 1
    assert f"hydra.searchpath=['file://{folder}/own']" in run.arguments


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Stopped)])
def test_stopped_and_resumed(number: int, raised: type[BaseException]) -> None:
    own = ("recipe.epochs=2", "hydra.run.dir=run")
    sends = "+callbacks.x={_target_: toy_callbacks.Signal, number: %d, step: %s}"
    before = {number: signal.getsignal(number) for number in STOP}
    with pytest.raises(raised):
        sparseift.run(quick(*own, sends % (number, 13)))
    assert {number: signal.getsignal(number) for number in STOP} == before
    assert checkpoint(Path("run"))["global_step"] == 14
    resumed = sparseift.run(quick(*own, sends % (number, 13), "resume=auto"))
    whole = sparseift.run(quick("recipe.epochs=2"))
    assert resumed.results["weights_sha256"] == whole.results["weights_sha256"]


def test_in_another_thread() -> None:
    """In which Python handles no signals."""
    done: list[sparseift.Run] = []
    thread = threading.Thread(target=lambda: done.append(sparseift.run(quick())))
    thread.start()
    thread.join()
    assert done[0].state == "finished"


def test_as_in_the_kernel_of_a_notebook(folder) -> None:
    """With an event loop that runs, a main module without a file, and arguments of the kernel; twice."""
    code = f"""
import asyncio, json, sys
sys.argv[1:] = ["-f", "kernel.json"]
import sparseift
assert not {{"torch", "hydra", "pytorch_lightning"}} & set(sys.modules)
async def cell(seed):
    return sparseift.run({quick("dataset.num_workers=1")!r} + [f"seed={{seed}}"])
async def cells():
    return [await cell(seed) for seed in (0, 1)]
runs = asyncio.run(cells())
print(json.dumps([str(run.folder) for run in runs]))
"""
    done = subprocess.run([sys.executable, "-"], input=code, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folders = json.loads(done.stdout.splitlines()[-1])
    assert [results(Path(name))["seed"] for name in folders] == [0, 1]
