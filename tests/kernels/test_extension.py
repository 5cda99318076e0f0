"""Building and loading: each way in which it fails is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparseift import UserError
from sparseift.kernels import extension


@pytest.fixture(autouse=True)
def unloaded() -> None:
    """Load again in each test, from the cache of the session."""
    extension.load.cache_clear()


def message() -> str:
    with pytest.raises(UserError) as error:
        extension.load()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_wrong_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEIFT_INSTRUCTION_SET", "sse")
    assert message() == "SPARSEIFT_INSTRUCTION_SET is sse; expected avx2 or avx512"


def test_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extension.platform, "machine", lambda: "aarch64")
    assert "aarch64" in message()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert message() == "the sparse kernels need a C++ compiler, but there is no no-such-compiler"


def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('--version' not in sys.argv)\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("SPARSEIFT_CACHE", str(tmp_path / "cache"))
    assert message().startswith(f"the sparse kernels cannot be built in {tmp_path / 'cache'}")
    assert not list(tmp_path.glob("cache/*/*.so"))


def test_it_is_built_once_and_loaded_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    extension.load()
    extension.load.cache_clear()
    monkeypatch.setattr(extension, "_build", lambda *_: pytest.fail("it is built again"))
    assert extension.load() in extension.INSTRUCTION_SETS


def test_the_variable_limits_the_instruction_set() -> None:
    code = "from sparseift.kernels import load; print(load())"
    environment = {**os.environ, "SPARSEIFT_INSTRUCTION_SET": "avx2"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "avx2"
