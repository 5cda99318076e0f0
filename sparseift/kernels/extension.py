"""Builds and loads the C++ extension."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from ..common.locks import locked
from ..common.messages import one_line
from ..errors import UserError

FLAGS = ("-O3", "-ffp-contract=fast", "-fopenmp")
"""Flags of the compiler. The functions of OpenMP come from the library that torch has loaded already."""

NAME = "sparseift_kernels"
SOURCES = Path(__file__).parent / "csrc"
INSTRUCTION_SETS = ("avx2", "avx512")


def cache_folder() -> Path:
    """Return the folder of built extensions: SPARSEIFT_CACHE, or one in the user's cache."""
    chosen = os.environ.get("SPARSEIFT_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparseift"


@cache
def load() -> str:
    """Load the extension, which is built on first use, and return the name of the instruction set in use.

    The environment variable SPARSEIFT_INSTRUCTION_SET limits it, such as to avx2.

    Raises:
        UserError: The processor has no instruction set of the kernels, or they cannot be built.
    """
    wanted = os.environ.get("SPARSEIFT_INSTRUCTION_SET", "")
    if wanted and wanted not in INSTRUCTION_SETS:
        raise UserError(f"SPARSEIFT_INSTRUCTION_SET is {wanted}; expected {' or '.join(INSTRUCTION_SETS)}")
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux":
        raise UserError(f"the processor is {platform.machine()} on {sys.platform}; the kernels need x86-64 on Linux")
    torch.ops.load_library(_built())
    chosen = torch.ops.sparseift.choose_instruction_set(wanted)
    if not chosen:
        raise UserError(f"the processor lacks {wanted or 'AVX2 and FMA'}, which the kernels need")
    return chosen


@cache
def identity() -> str:
    """Return what the times of the kernels depend on: their build, the instruction set and the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    return f"{_built().parent.name} {load()} {processor}"


def _built() -> Path:
    """The library of these sources, flags, torch and compiler."""
    sources = sorted(SOURCES.iterdir())
    compiler = _compiler()
    parts = (*FLAGS, torch.__version__, compiler, *(path.read_text() for path in sources))
    folder = cache_folder() / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    library = folder / f"{NAME}.so"
    if not library.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / "lock"):
                if not library.exists():
                    _build([path for path in sources if path.suffix == ".cpp"], library)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise UserError(f"the sparse kernels cannot be built in {folder}: {one_line(error)}") from error
    return library


def _compiler() -> str:
    """The version of the C++ compiler."""
    command = os.environ.get("CXX", "c++")
    if not shutil.which(command):
        raise UserError(f"the sparse kernels need a C++ compiler, but there is no {command}")
    with _path_of_environment():
        if not shutil.which("ninja"):
            raise UserError("the sparse kernels need ninja: pip install ninja")
    return subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.partition("\n")[0]


def _build(sources: list[Path], library: Path) -> None:
    """Build in a folder of its own, so that a killed process leaves neither half a library nor a lock of torch's."""
    from torch.utils import cpp_extension  # imports setuptools

    with tempfile.TemporaryDirectory(dir=library.parent) as folder, _path_of_environment():
        cpp_extension.load(
            NAME, [str(path) for path in sources], extra_cflags=list(FLAGS), build_directory=folder,
            is_python_module=False,
        )  # fmt: skip
        os.replace(Path(folder) / library.name, library)  # stays the same file for the loader


@contextmanager
def _path_of_environment() -> Iterator[None]:
    """Also find programs of this Python environment, which need not be activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([before, str(Path(sys.executable).parent)])
    try:
        yield
    finally:
        os.environ["PATH"] = before
