"""`sparseift VERB`, as a process of its own: help, mistakes and completion without a long start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sparseift

from .programs import Outcome, environment, quick, results

COMMAND = "import sys; from sparseift.__main__ import main; sys.argv[0] = '/bin/sparseift'; main()"


def command(*arguments: str, cwd: Path, **env: str) -> Outcome:
    """What the console script does."""
    started = [sys.executable, "-c", COMMAND, *arguments]
    done = subprocess.run(started, cwd=cwd, env=environment(**env), capture_output=True, text=True)
    return Outcome(done.returncode, done.stdout, done.stderr)


def completed(line: str, cwd: Path) -> list[str]:
    outcome = command("-sc", "query=bash", cwd=cwd, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert outcome.code == 0 and outcome.err == "", outcome
    return outcome.out.split()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=str)
def test_help_names_every_verb(tmp_path, arguments: list[str]) -> None:
    outcome = command(*arguments, cwd=tmp_path)
    assert outcome.code == 0 and outcome.err == ""
    listed = {line.split()[0] for line in outcome.out.splitlines() if line.startswith("  ")}
    assert {"train", "profile", "evaluate", "predict", "report", "compare", "export"} < listed


@pytest.mark.parametrize("verb", ["profile", "evaluate", "predict", "report", "compare", "export"])
def test_every_verb_has_help_that_begins_with_it(tmp_path, verb: str) -> None:
    outcome = command(verb, "--help", cwd=tmp_path)
    assert outcome.code == 0 and outcome.err == ""
    assert outcome.out.removeprefix("usage: ").startswith(f"sparseift {verb} [")


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"]], ids=str)
def test_version_of_the_package(tmp_path, arguments: list[str]) -> None:
    assert command(*arguments, cwd=tmp_path) == Outcome(0, f"sparseift {sparseift.__version__}\n", "")


def test_mistakes(tmp_path) -> None:
    assert command("trian", cwd=tmp_path).mistake() == "VERB is 'trian'; expected train; see --help"
    told = command("zzz", cwd=tmp_path).mistake()
    assert told.startswith("VERB is 'zzz'; expected one of train, profile, ")
    assert "there is no option 'zzz'" in command("train", "zzz=1", cwd=tmp_path).mistake()


def test_a_run_of_two_processes(tmp_path) -> None:
    """The second one is started with the command line of the first."""
    two = ["trainer.devices=2", "trainer.strategy=ddp", "sparsifier=static", "dataset.val_size=1300"]
    outcome = command("train", *quick("dataset.batch_size=32", *two, "hydra.run.dir=run"), cwd=tmp_path)
    assert outcome.code == 0, outcome
    assert results(tmp_path / "run")["steps"] == 3  # 138 samples in batches of 64


@pytest.mark.parametrize("statement", ["--help", "--version", "zzz"])
def test_no_torch_and_no_hydra_for_what_needs_none(tmp_path, statement: str) -> None:
    code = f"""
import sys
sys.argv = ["sparseift", "{statement}"]
from sparseift.__main__ import main
try:
    main()
except SystemExit:
    pass
print(sorted({{"torch", "hydra", "omegaconf", "rich"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_completion(tmp_path) -> None:
    assert completed("sparseift ", tmp_path)[0] == "train"
    assert completed("sparseift pr", tmp_path) == ["profile", "predict"]
    assert completed("sparseift train member=sparse_d", tmp_path) == ["member=sparse_doped"]
    assert completed("sparseift profile dataset=digits dataset.cu", tmp_path) == ["dataset.cutout="]
    assert completed("sparseift report ru", tmp_path) == []  # the shell then completes files
    script = command("-sc", "install=bash", cwd=tmp_path)
    assert script.code == 0 and script.out.rstrip().endswith("hydra_bash_completion sparseift")


@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="needs bash")
def test_completion_in_bash(tmp_path) -> None:
    """The function that bash calls, with the line that it would be called for."""
    (tmp_path / "sparseift").write_text(f"#!{sys.executable}\n{COMMAND}\n")
    (tmp_path / "sparseift").chmod(0o755)
    script = """
eval "$(sparseift -sc install=bash)"
COMP_LINE="sparseift train sparsifier=ri" COMP_POINT=29 COMP_WORDS=(sparseift train sparsifier=ri) COMP_CWORD=2
hydra_bash_completion
echo "${COMPREPLY[@]}"
"""
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(["/bin/bash", "-c", script], env=environment(PATH=path), capture_output=True, text=True)
    assert done.stdout.split() == ["sparsifier=rigl", "sparsifier=rigl_itop"], done.stderr
